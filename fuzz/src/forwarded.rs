//! Nobody who is not trusted speaks for others, and who is found was named.

use std::net::IpAddr;

use http::HeaderMap;
use lb_core::client::{TrustedProxies, network};

pub fn run(data: &[u8]) {
    let fields: HeaderMap = crate::text::fields(data.split(|byte| *byte == b'\n'));
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a network"));
    let trusted = TrustedProxies::new(trusted);
    let (proxy, stranger) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([192, 0, 2, 9]));
    assert_eq!(trusted.client(stranger, &fields), stranger);
    let client = trusted.client(proxy, &fields);
    assert_eq!(client, client.to_canonical());
    let named = |client: IpAddr| {
        let values = fields.get_all("x-forwarded-for").iter();
        values.into_iter().any(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            text.split(',').any(|hop| {
                let bare = hop.trim().trim_start_matches('[');
                let part = |end| bare.split(end).next().unwrap_or_default().parse::<IpAddr>();
                [
                    part(']'),
                    part(','),
                    bare.rsplit_once(':')
                        .map_or(part(','), |pair| pair.0.parse()),
                ]
                .into_iter()
                .flatten()
                .any(|address| address.to_canonical() == client)
            })
        })
    };
    assert!(client == proxy || named(client), "{client} was never named");
    for prefix in [0, 64, 128, 255] {
        let home = network(client, prefix);
        assert_eq!(
            home,
            network(home, prefix),
            "a network of a network is itself"
        );
    }
}
