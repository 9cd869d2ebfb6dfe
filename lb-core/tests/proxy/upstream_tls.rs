//! TLS towards endpoints, with authorities made for each test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lb_core::health::{HttpProbe, Probe as _, ProbeError};
use lb_core::proxy::{UpstreamTls, UpstreamTlsBuilder};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};

use crate::origin2::Echo;
use crate::support::*;
use crate::tunnels::{ACCEPTED, HANDSHAKE};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// An authority, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names, and its key.
    fn sign(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn trusted(&self) -> UpstreamTlsBuilder {
        UpstreamTls::builder().roots(self.pem())
    }
}

/// What an origin shows, asks for and speaks.
struct Origin2 {
    address: std::net::SocketAddr,
    /// Handshakes that succeeded.
    accepted: Arc<AtomicUsize>,
    echo: Echo,
}

impl Origin2 {
    async fn start(
        (certificate, key): (String, String),
        clients: Option<&Authority>,
        protocols: &[&str],
        http1: Http1,
    ) -> Self {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let provider = Arc::new(ring::default_provider());
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut config = config.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Self {
            address: listener.local_addr().unwrap(),
            accepted: Arc::default(),
            echo: Echo::default(),
        };
        let (accepted, echo) = (Arc::clone(&origin.accepted), origin.echo.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, accepted) = (acceptor.clone(), Arc::clone(&accepted));
                let echo = echo.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    accepted.fetch_add(1, Ordering::SeqCst);
                    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        echo.serve(stream).await;
                    } else {
                        http1.answer(&mut stream).await;
                    }
                });
            }
        });
        origin
    }

    fn by_name(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    fn by_address(&self) -> String {
        format!("https://{}", self.address)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// How an origin behaves that speaks HTTP/1.1.
#[derive(Clone, Copy)]
enum Http1 {
    /// "ok" to each request without a body, an echo to each handshake.
    Polite,
    /// Half an answer without a length, then the socket closes, TLS does not.
    Truncating,
}

impl Http1 {
    async fn answer(
        self,
        stream: &mut tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    ) -> Option<()> {
        loop {
            let mut head = Vec::new();
            while find(&head, b"\r\n\r\n").is_none() {
                if stream.read_buf(&mut head).await.ok()? == 0 {
                    return None;
                }
            }
            if let Self::Truncating = self {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf")
                    .await
                    .ok()?;
                stream.flush().await.ok()?;
                return stream.get_mut().0.shutdown().await.ok();
            }
            if String::from_utf8_lossy(&head).contains("upgrade: websocket") {
                stream.write_all(ACCEPTED.as_bytes()).await.ok()?;
                let (mut read, mut write) = tokio::io::split(stream);
                tokio::io::copy(&mut read, &mut write).await.ok();
                return write.shutdown().await.ok();
            }
            stream.write_all(&ok("ok")).await.ok()?;
            stream.flush().await.ok()?;
        }
    }
}

async fn gateway(url: String, tls: UpstreamTlsBuilder) -> std::net::SocketAddr {
    let proxy = pool(&[url]).reverse_proxy();
    serve(proxy.upstream_tls(tls.build().unwrap())).await
}

#[tokio::test]
async fn an_https_endpoint_is_reached_by_name_and_by_address_and_its_connection_is_kept() {
    let authority = Authority::new();
    let signed = authority.sign(&["localhost", "127.0.0.1"]);
    let origin = Origin2::start(signed, None, &["http/1.1"], Http1::Polite).await;
    for (count, url) in [(1, origin.by_name()), (2, origin.by_address())] {
        let mut client = Client::connect(gateway(url, authority.trusted()).await).await;
        for _ in 0..3 {
            let answer = client.ask(GET).await;
            assert_eq!((answer.status, answer.text()), (200, "ok"));
        }
        assert_eq!(origin.accepted(), count);
    }
}

#[tokio::test]
async fn http2_is_spoken_where_both_agree_and_bodies_pass() {
    let authority = Authority::new();
    let signed = authority.sign(&["localhost"]);
    let origin = Origin2::start(signed, None, &["h2", "http/1.1"], Http1::Polite).await;
    let gateway_2 = gateway(origin.by_name(), authority.trusted()).await;
    let mut client = Client::connect(gateway_2).await;
    let large = vec![b'x'; 1 << 20];
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        large.len()
    );
    for _ in 0..2 {
        client.send([head.as_bytes(), &large].concat()).await;
        let answer = client.answer().await.unwrap();
        assert!(answer.complete && answer.body == large);
    }
    assert_eq!(origin.echo.lines(), ["POST https://h/"; 2]);
    assert_eq!(origin.accepted(), 1);
    let only_1 = gateway(origin.by_name(), authority.trusted().http1_only()).await;
    assert_eq!(Client::connect(only_1).await.ask(GET).await.text(), "ok");
    assert_eq!(origin.echo.lines().len(), 2);
}

#[tokio::test]
async fn a_websocket_to_an_endpoint_that_prefers_http2_travels_on_http1() {
    let authority = Authority::new();
    let signed = authority.sign(&["localhost"]);
    let origin = Origin2::start(signed, None, &["h2", "http/1.1"], Http1::Polite).await;
    let gateway = gateway(origin.by_name(), authority.trusted()).await;
    // A shared connection is there already, and takes no part in this.
    assert_eq!(Client::connect(gateway).await.ask(GET).await.status, 200);
    let mut client = Client::connect(gateway).await;
    assert_eq!(client.ask(HANDSHAKE).await.status, 101);
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    client.send(&bytes).await;
    assert_eq!(client.raw(bytes.len()).await, bytes);
    client.shutdown().await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_never_spoken_to() {
    let (authority, other) = (Authority::new(), Authority::new());
    let good = Origin2::start(
        authority.sign(&["localhost"]),
        None,
        &["http/1.1"],
        Http1::Polite,
    )
    .await;
    // Another authority, another name, and no trust at all.
    for (url, tls) in [
        (good.by_name(), other.trusted()),
        (good.by_address(), authority.trusted()),
        (
            good.by_name(),
            authority.trusted().server_name("other.internal"),
        ),
    ] {
        let answer = Client::connect(gateway(url, tls).await)
            .await
            .ask(GET)
            .await;
        assert_eq!(answer.status, 502);
        assert!(answer.text().contains("unreachable"));
    }
    let plain = serve(pool(&[good.by_name()]).reverse_proxy()).await;
    assert_eq!(Client::connect(plain).await.ask(GET).await.status, 502);
    // The same endpoint by the name it bears: the judge can say yes, too.
    let named = authority.trusted().server_name("localhost");
    let gateway = gateway(good.by_address(), named).await;
    assert_eq!(Client::connect(gateway).await.ask(GET).await.status, 200);
}

#[tokio::test]
async fn an_endpoint_may_ask_who_is_calling() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let origin = Origin2::start(
        servers.sign(&["localhost"]),
        Some(&clients),
        &["h2"],
        Http1::Polite,
    )
    .await;
    let (certificate, key) = clients.sign(&["gateway"]);
    let known = servers.trusted().identity(certificate, key);
    let known = gateway(origin.by_name(), known).await;
    assert_eq!(Client::connect(known).await.ask(GET).await.status, 200);
    let (certificate, key) = servers.sign(&["gateway"]);
    let wrong = servers.trusted().identity(certificate, key);
    for stranger in [servers.trusted(), wrong] {
        let gateway = gateway(origin.by_name(), stranger).await;
        assert_eq!(Client::connect(gateway).await.ask(GET).await.status, 502);
    }
    assert_eq!(origin.echo.lines().len(), 1);
}

#[tokio::test]
async fn an_answer_without_the_end_of_tls_is_aborted() {
    let authority = Authority::new();
    let signed = authority.sign(&["localhost"]);
    let origin = Origin2::start(signed, None, &["http/1.1"], Http1::Truncating).await;
    let gateway = gateway(origin.by_name(), authority.trusted()).await;
    let mut client = Client::connect(gateway).await;
    client.send(GET).await;
    let complete = client.answer().await.is_some_and(|answer| answer.complete);
    assert!(!complete, "half an answer looks whole");
}

#[tokio::test]
async fn a_probe_asks_over_tls_whom_it_may_trust_and_nobody_in_plain_text() {
    let authority = Authority::new();
    let signed = authority.sign(&["localhost"]);
    let origin = Origin2::start(signed, None, &["h2", "http/1.1"], Http1::Polite).await;
    let pool = pool(&[origin.by_name()]);
    let endpoint = &pool.endpoints()[0];
    let probe = || HttpProbe::get("/ready").unwrap();
    let trusting = |tls: UpstreamTlsBuilder| probe().upstream_tls(tls.build().unwrap());
    trusting(authority.trusted()).probe(endpoint).await.unwrap();
    assert_eq!(origin.accepted(), 1);
    for refused in [trusting(Authority::new().trusted()), probe().any_answer()] {
        let answer = refused.probe(endpoint).await;
        assert!(matches!(answer, Err(ProbeError::Io(_))), "{answer:?}");
    }
    assert_eq!(origin.accepted(), 1);
}
