//! Where a path should have been: Consul's mux (Go's `net/http.ServeMux`) sends clients on by a redirect.
//!
//! A client whose base URL ends with a slash asks for `//v1/…`, and follows. So keys with two slashes in a row, or with
//! a part that is a dot, cannot be had; they cannot be had in Consul either.

use http::{Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::reply::Reply;
use super::route;

/// What Go leaves as it is in a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// The way on, if the path is not clean or only lacks its last slash.
pub(super) fn redirect(uri: &Uri) -> Option<Reply> {
    let path = percent_decode_str(uri.path()).decode_utf8().ok()?;
    let clean = cleaned(&path);
    let mut wanted = utf8_percent_encode(&clean, ESCAPED).to_string();
    let lacks_slash = lacks_slash(&wanted);
    if clean == path && !lacks_slash {
        return None;
    }
    if lacks_slash {
        wanted.push('/');
    }
    let query = uri.query().map(|query| format!("?{query}"));
    let location = wanted + &query.unwrap_or_default();
    let moved = Reply::empty().status(http::StatusCode::MOVED_PERMANENTLY);
    Some(moved.header(header::LOCATION, &location))
}

/// Without empty parts and dots; the last slash stays.
fn cleaned(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    if path.ends_with('/') && !parts.is_empty() {
        clean.push('/');
    }
    clean
}

fn lacks_slash(path: &str) -> bool {
    route::find(path).is_err() && route::find(&format!("{path}/")).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn location(uri: &str) -> Option<String> {
        let reply = redirect(&uri.parse().unwrap())?;
        let response = reply.into_response();
        assert_eq!(response.status(), 301);
        Some(response.headers()["location"].to_str().unwrap().to_owned())
    }

    #[test]
    fn clients_are_sent_where_consul_sends_them() {
        for (asked, wanted) in [
            ("//v1/agent//services?a=b%20c", "/v1/agent/services?a=b%20c"),
            (
                "/v1/kv/a%2F%2Fb%20c%3F%C3%A9?flags=1",
                "/v1/kv/a/b%20c%3F%C3%A9?flags=1",
            ),
            ("/v1/kv/../agent/self", "/v1/agent/self"),
            ("/v1/kv/..", "/v1"),
            ("/v1/kv/a/./b/", "/v1/kv/a/b/"),
            ("/v1/health/service", "/v1/health/service/"),
            ("/v1/kv", "/v1/kv/"),
            ("/v1//kv", "/v1/kv/"),
            ("/v1/session/info", "/v1/session/info/"),
        ] {
            assert_eq!(location(asked).as_deref(), Some(wanted), "{asked}");
        }
        for right in [
            "/v1/agent/services",
            "/v1/kv/a/",
            "/v1/kv/a..b",
            "/v1/nothing",
            "/",
            "/v1/kv/%ff",
        ] {
            assert_eq!(location(right), None, "{right}");
        }
    }

    proptest! {
        /// Whoever follows is not sent on again, nor to another host.
        #[test]
        fn a_redirect_leads_somewhere(path in "(/|[a-z.]|%2[fF]|%2[eE]|v1|kv|agent){1,20}") {
            let uri = format!("/{path}");
            if let Some(location) = location(&uri) {
                prop_assert!(!location.starts_with("//"));
                prop_assert_eq!(self::location(&location), None, "{} -> {}", uri, location);
            }
        }
    }
}
