//! A gateway with session cookies in a process of its own, for the tests of affinity:
//! `affinity_gateway PORT SECRET ENDPOINT...` serves until it is killed.

use anyhow::Context as _;
use lb_core::proxy::{ServeOptions, serve_gateway};
use lb_core::{Affinity, Pool};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().context("PORT is missing")?.parse()?;
    let secret = arguments.next().context("SECRET is missing")?;
    let pool = Pool::builder("sessions")
        .endpoints(arguments)
        .affinity(Affinity::cookie("lb_session", secret))
        .build()?;
    let options = ServeOptions::new(([127, 0, 0, 1], port).into()).workers(1);
    let _server = serve_gateway(&pool.reverse_proxy(), &options)?;
    loop {
        std::thread::park();
    }
}
