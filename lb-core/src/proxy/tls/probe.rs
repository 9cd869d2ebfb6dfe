//! Probes of endpoints that are spoken to over TLS.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::UpstreamTls;
use super::connector::Connector;
use crate::health::{Encrypt, Encrypting, HttpProbe, Wire};

impl Encrypt for Connector {
    fn encrypt<'a>(&'a self, host: &'a str, stream: TcpStream) -> Encrypting<'a> {
        Box::pin(async move {
            // As for a tunnel: HTTP/1.1 is all that is offered.
            let (stream, _) = self.connect(host, stream, true).await?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    }
}

impl HttpProbe {
    /// Asks endpoints with an `https` address over TLS, as the proxy speaks to them.
    /// Default: such endpoints count as unreachable.
    ///
    /// ```no_run
    /// use lb_core::health::{HealthCheck, HttpProbe};
    /// use lb_core::proxy::UpstreamTls;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tls = UpstreamTls::builder().roots(std::fs::read("ca.pem")?).build()?;
    /// let check = HealthCheck::new(HttpProbe::get("/ready")?.upstream_tls(tls.clone()));
    /// let pool = lb_core::Pool::builder("app").endpoints(["https://app-1.internal:8443"]);
    /// let proxy = pool.health(check).build()?.reverse_proxy().upstream_tls(tls);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn upstream_tls(mut self, tls: UpstreamTls) -> Self {
        self.encrypt = Some(Arc::new(tls.connector));
        self
    }
}
