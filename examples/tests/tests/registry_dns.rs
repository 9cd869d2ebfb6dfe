//! Names as registries, on real name servers: Consul's own and dnsmasq.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use lb_registry::fail_static::Settings;
use lb_registry::{
    Consul as Client, Discovery, Dns, Instance, Origin, Registration, Registry, Snapshot, Watch,
};
use testkit::consul::Consul;
use testkit::{Program, Ready, Server, port};

const SOON: Duration = Duration::from_secs(30);

async fn until(watch: &mut Watch, what: &str, condition: impl Fn(&Snapshot) -> bool) {
    let found = tokio::time::timeout(SOON, watch.until(|set| !set.is_pending() && condition(set)));
    assert!(found.await.is_ok(), "{what}: {:?}", watch.latest());
}

fn loopback(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_consul_come_and_go_by_name() {
    let consul = Consul::start().expect("a Consul");
    let registry = Client::new(&consul.url()).expect("a URL");
    let register = |id: &str, host: &str, port: u16, weight: u32| {
        let mut instance = Instance::new("web", id, host, port);
        instance.weight = weight;
        let registration = Registration {
            ttl: SOON,
            ..Registration::new(instance)
        };
        let registry = registry.clone();
        async move {
            registry
                .register(&registration)
                .await
                .expect("Consul answers");
        }
    };
    register("a", "10.0.0.1", 8001, 3).await;
    register("b", "10.0.0.2", 8002, 1).await;
    let quick = Settings {
        empty_grace: Duration::from_secs(2),
        ..Settings::default()
    };
    let dns = Dns::services()
        .server(loopback(consul.dns_port()))
        .fail_static(quick);
    let mut watch = dns.watch("web.service.consul");
    until(&mut watch, "both are found", |set| set.instances.len() == 2).await;
    let set = watch.latest();
    assert_eq!(set.get("10.0.0.1:8001").map(|one| one.weight), Some(3));
    assert_eq!(set.get("10.0.0.2:8002").map(|one| one.weight), Some(1));
    register("c", "10.0.0.3", 8003, 1).await;
    until(&mut watch, "a third one is seen", |set| {
        set.instances.len() == 3
    })
    .await;
    consul.kill();
    until(&mut watch, "the doubt is seen", |set| {
        set.origin != Origin::Live
    })
    .await;
    assert_eq!(
        watch.latest().instances.len(),
        3,
        "a dead name server takes nobody away"
    );
    consul.restart().expect("it starts again");
    // It has forgotten everybody, so the name is gone; that is believed when it stays so.
    until(&mut watch, "the name is gone", |set| {
        set.instances.is_empty()
    })
    .await;
}

/// A name server with these lines of configuration.
fn dnsmasq(port: u16, folder: &Path, lines: &str) -> Server {
    let file = folder.join("dnsmasq.conf");
    let common = format!(
        "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nlocal=/test/\nedns-packet-max=1232\n"
    );
    std::fs::write(&file, common + lines).expect("the folder is there");
    Server::of(&Program::new("dnsmasq", "dnsmasq-base"))
        .args(["--keep-in-foreground", "--user=root", "--log-facility=-"])
        .args([format!("--conf-file={}", file.display())])
        .ready(Ready::Tcp { port })
        .start()
        .expect("a name server")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_priorities_the_lowest_counts_and_names_lead_to_addresses() {
    let (port, folder) = (port::free(), tempfile::tempdir().expect("a folder"));
    let lines = "srv-host=_http._tcp.web.test,a.test,8001,1,10\nsrv-host=_http._tcp.web.test,b.test,8002,1,0\n\
                 srv-host=_http._tcp.web.test,spare.test,8003,2,10\n\
                 host-record=a.test,10.0.0.1\nhost-record=b.test,10.0.0.2,fd00::2\nhost-record=spare.test,10.0.0.3\n";
    let _server = dnsmasq(port, folder.path(), lines);
    let mut watch = Dns::services()
        .server(loopback(port))
        .watch("_http._tcp.web.test");
    until(&mut watch, "it resolves", |set| !set.instances.is_empty()).await;
    let set = watch.latest();
    let found: Vec<(&str, u32)> = set
        .instances
        .iter()
        .map(|one| (one.id.as_str(), one.weight))
        .collect();
    assert_eq!(
        found,
        [
            ("10.0.0.1:8001", 10),
            ("10.0.0.2:8002", 1),
            ("[fd00::2]:8002", 1)
        ]
    );
    assert_eq!(set.instances[0].metadata["target"], "a.test");
    let mut plain = Dns::port(80).server(loopback(port)).watch("b.test");
    until(&mut plain, "addresses resolve", |set| {
        set.instances.len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_a_datagram_comes_by_tcp() {
    let (port, folder) = (port::free(), tempfile::tempdir().expect("a folder"));
    let lines: String = (0..120u8)
        .map(|n| {
            format!(
                "srv-host=_http._tcp.many.test,n{n}.test,80,1,1\nhost-record=n{n}.test,10.0.1.{n}\n"
            )
        })
        .collect();
    let _server = dnsmasq(port, folder.path(), &lines);
    let mut watch = Dns::services()
        .server(loopback(port))
        .watch("_http._tcp.many.test");
    until(&mut watch, "it resolves", |set| !set.instances.is_empty()).await;
    // Addresses that do not come along are asked for apart, up to a limit.
    assert!(
        watch.latest().instances.len() >= 64,
        "{}",
        watch.latest().instances.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_is_asked_when_one_does_not_answer() {
    let (port, folder) = (port::free(), tempfile::tempdir().expect("a folder"));
    let _server = dnsmasq(port, folder.path(), "host-record=a.test,10.0.0.1\n");
    let dns = Dns::port(80)
        .server(loopback(port::free()))
        .server(loopback(port));
    let mut watch = dns.watch("a.test");
    until(&mut watch, "it resolves", |set| {
        set.get("10.0.0.1:80").is_some()
    })
    .await;
}
