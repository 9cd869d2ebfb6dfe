//! Interim answers of endpoints that speak HTTP/2.

use crate::interim::{LAST, everything, gateway, split};
use crate::origin2::{END_HEADERS, HEADERS, frame, good, scripted};
use crate::support::*;

/// A field that no table knows, as HPACK spells it.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        out.push(u8::try_from(text.len()).unwrap());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

/// An interim head: `:status` is number 8 of the static table.
fn head(stream: u32, status: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = [&[0x08, 0x03], status.as_bytes()].concat();
    for (name, value) in fields {
        block.extend(literal(name, value));
    }
    frame(HEADERS, END_HEADERS, stream, &block)
}

#[tokio::test]
async fn they_reach_clients_of_http1_in_its_own_form() {
    let cases = [
        (vec![("link", "</a>")], 2, "link: </a>\r\n", "200"),
        (vec![("content-length", "5")], 1, "", "200"),
        (vec![("connection", "close")], 1, "none", "502"),
    ];
    for (fields, count, lines, status) in cases {
        let reply = move |_, id| {
            let mut bytes = head(id, "100", &[]);
            bytes.extend(head(id, "103", &fields).repeat(count));
            bytes.extend(good(id));
            bytes
        };
        let (address, _) = scripted(reply).await;
        let server = gateway(&pool(&[format!("h2c://{address}")]));
        let text = everything(&server, LAST).await;
        let heard = match lines {
            "none" => String::new(),
            _ => format!("HTTP/1.1 103 Early Hints\r\n{lines}\r\n").repeat(count),
        };
        assert_eq!(split(&text), (heard.as_str(), status), "{text}");
    }
}
