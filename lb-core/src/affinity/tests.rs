use http::header;
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000;
const KEY: &str = "a secret of sixteen bytes";

fn affinity() -> Affinity {
    Affinity::cookie("lb", KEY)
}

fn keys(affinity: &Affinity) -> &KeyRing {
    match &affinity.source {
        Source::Token { keys, .. } => keys,
        Source::Key { .. } => panic!("signs nothing"),
    }
}

fn value(affinity: &Affinity, id: &str, incarnation: u64) -> String {
    keys(affinity).seal(id, incarnation, NOW / 60 + 60).unwrap()
}

fn read(affinity: &Affinity, cookies: &[&str], now: u64) -> Option<Binding> {
    let mut headers = HeaderMap::new();
    for cookie in cookies {
        headers.append(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
    }
    affinity.binding(&headers, now)
}

#[test]
fn a_binding_comes_back_as_it_was_made() {
    let affinity = affinity();
    let cookie = format!("a=1; lb={}; b=2", value(&affinity, "sim-1", 7));
    let token = read(&affinity, &[&cookie], NOW).unwrap();
    assert_eq!((token.id.as_str(), token.incarnation), ("sim-1", 7));
}

#[test]
fn a_binding_is_renewed_in_its_second_half() {
    let affinity = affinity().lifetime(Duration::from_secs(7_200));
    let cookie = format!(
        "lb={}",
        keys(&affinity).seal("sim-1", 0, NOW / 60 + 120).unwrap()
    );
    let token = read(&affinity, &[&cookie], NOW).unwrap();
    assert!(!affinity.is_due(&token, NOW + 3_540));
    assert!(affinity.is_due(&token, NOW + 3_660));
}

#[test]
fn a_session_that_goes_on_keeps_its_binding_however_short_its_life() {
    for minutes in 1..=5 {
        let affinity = affinity().lifetime(Duration::from_secs(60 * minutes));
        let write = |now| affinity.token_for("sim-1", 7, now, false).unwrap().1;
        let (mut cookie, mut renewed) = (write(NOW + 59), 0);
        for now in (NOW + 59..NOW + 3_600).step_by(10) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let token = read(&affinity, &[pair], now).expect("bound all the time");
            if affinity.is_due(&token, now) {
                cookie = write(now);
                renewed += 1;
            }
        }
        assert!((1..=120 / minutes).contains(&renewed), "{renewed} times");
    }
}

#[test]
fn what_is_remembered_lives_as_long_as_was_said() {
    let affinity = Affinity::header("x-tenant").remember(10);
    let affinity = affinity.lifetime(Duration::from_secs(60));
    let pool = Pool::builder("test").endpoints(["http://10.0.0.1:80"]);
    let endpoint = pool.build().unwrap().endpoints().remove(0);
    let (uri, mut headers) = (http::Uri::from_static("/"), HeaderMap::new());
    headers.insert("x-tenant", HeaderValue::from_static("acme"));
    let asked = Asked {
        uri: &uri,
        headers: &headers,
        peer: None,
    };
    let session = |now| Session::read(Some(&affinity), &asked, || now);
    let fields = &mut HeaderMap::new();
    session(NOW + 59).write(Some(&affinity), &endpoint, false, fields, || NOW + 59);
    assert!(session(NOW + 118).holds(&endpoint));
    assert!(session(NOW + 177).holds(&endpoint), "it was used at 118");
    assert!(!session(NOW + 237).holds(&endpoint));
}

#[test]
fn the_value_does_not_show_the_endpoint() {
    let value = value(&affinity(), "simulation-instance-1", 7);
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, value);
    let bytes = bytes.unwrap();
    assert!(!bytes.windows(3).any(|window| window == b"sim"));
}

#[test]
fn an_expired_binding_is_none() {
    let affinity = affinity();
    let cookie = format!("lb={}", value(&affinity, "sim-1", 7));
    assert!(read(&affinity, &[&cookie], NOW + 3_599).is_some());
    assert!(read(&affinity, &[&cookie], NOW + 3_660).is_none());
}

#[test]
fn the_first_valid_of_several_cookies_counts() {
    let affinity = affinity();
    let (one, two) = (value(&affinity, "one", 0), value(&affinity, "two", 0));
    let cookies = [format!("lb=forged; lb={one}"), format!("lb={two}")];
    let token = read(&affinity, &[&cookies[0], &cookies[1]], NOW).unwrap();
    assert_eq!(token.id.as_str(), "one");
}

#[test]
fn keys_rotate_without_losing_a_session() {
    let old = affinity();
    let new = Affinity::cookie("lb", "another secret of bytes").also_accept(KEY);
    let cookie = format!("lb={}", value(&old, "sim-1", 7));
    let token = read(&new, &[&cookie], NOW).unwrap();
    assert!(token.former_key && new.is_due(&token, NOW));
    let after = Affinity::cookie("lb", "another secret of bytes");
    assert!(read(&after, &[&cookie], NOW).is_none());
}

#[test]
fn weak_settings_are_refused() {
    assert!(affinity().check().is_ok());
    assert!(Affinity::cookie("lb", "short").check().is_err());
    assert!(Affinity::cookie("l b", KEY).check().is_err());
    assert!(affinity().also_accept("short").check().is_err());
    assert!(affinity().lifetime(Duration::from_secs(5)).check().is_err());
}

#[test]
fn a_name_too_long_for_a_cookie_is_never_bound() {
    assert!(keys(&affinity()).seal(&"a".repeat(201), 0, 0).is_none());
    assert!(keys(&affinity()).seal(&"a".repeat(200), 0, 0).is_some());
}

proptest! {
    /// Any change of any byte of a valid cookie ends the binding.
    #[test]
    fn a_tampered_cookie_is_no_cookie(at in 0_usize..1000, flip in 1_u8..64, cut in 0_usize..40) {
        let affinity = affinity();
        let mut bytes = value(&affinity, "sim-1", 7).into_bytes();
        let at = at % bytes.len();
        bytes[at] = b'A' + (bytes[at].wrapping_add(flip) % 26);
        let original = value(&affinity, "sim-1", 7).into_bytes();
        if bytes != original {
            prop_assert_eq!(keys(&affinity).open(&bytes), None);
        }
        let short = &original[..original.len() - cut.min(original.len())];
        prop_assert_eq!(keys(&affinity).open(short).is_some(), cut == 0);
    }

    /// Whatever stands in a cookie field: no panic, no binding.
    #[test]
    fn noise_binds_nobody(noise in "[ -~]{0,2000}") {
        prop_assert_eq!(read(&affinity(), &[&noise], NOW), None);
        let named = format!("lb={noise}");
        prop_assert_eq!(read(&affinity(), &[&named], NOW), None);
    }

    /// Every id of legal length survives the trip.
    #[test]
    fn every_endpoint_can_be_bound(id in "[a-zA-Z0-9:/._-]{1,200}", incarnation: u64) {
        let affinity = affinity();
        let cookie = format!("lb={}", value(&affinity, &id, incarnation));
        let token = read(&affinity, &[&cookie], NOW).unwrap();
        prop_assert_eq!((token.id.as_str(), token.incarnation), (id.as_str(), incarnation));
    }
}

#[test]
fn a_token_that_was_opened_before_ends_with_its_key() {
    let cookie = format!("lb={}", value(&affinity(), "sim-1", 7));
    let rotated = Affinity::cookie("lb", "the secret of this month").also_accept(KEY);
    assert!(read(&rotated, &[&cookie], NOW).is_some());
    let later = (0..3).fold(rotated, |affinity, month| {
        affinity.also_accept(format!("the secret of month {month}"))
    });
    assert_eq!(read(&later, &[&cookie], NOW), None);
}

#[test]
fn a_token_written_before_is_written_again_only_for_the_same() {
    let affinity = affinity();
    let write = |incarnation, now, tls| affinity.token_for("sim-1", incarnation, now, tls);
    let first = write(7, NOW, false).unwrap();
    assert_eq!(write(7, NOW, false).unwrap(), first);
    for other in [
        write(8, NOW, false),
        write(7, NOW + 60, false),
        write(7, NOW, true),
    ] {
        assert_ne!(other.unwrap(), first);
        assert_eq!(write(7, NOW, false).unwrap(), first);
    }
}

/// Counts warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<std::sync::atomic::AtomicU32>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        // Relaxed: one thread.
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_pool_whose_policy_hashes_no_keys_warns() {
    use crate::policy::{ConsistentHash, PolicyConfig, PriorityTiers, RoundRobin};

    let tenant = || Affinity::header("x-tenant");
    let cases: [(Affinity, PolicyConfig, u32); 6] = [
        (tenant(), RoundRobin::default().into(), 1),
        (tenant(), PriorityTiers::of(RoundRobin::default()).into(), 1),
        (tenant(), ConsistentHash::default().into(), 0),
        (
            tenant(),
            PriorityTiers::of(ConsistentHash::default()).into(),
            0,
        ),
        (tenant().remember(10), RoundRobin::default().into(), 0),
        (affinity(), RoundRobin::default().into(), 0),
    ];
    for (affinity, policy, expected) in cases {
        let (warnings, text) = (Warnings::default(), format!("{affinity:?} {policy:?}"));
        tracing::subscriber::with_default(warnings.clone(), || {
            let builder = Pool::builder("test").affinity(affinity);
            builder.policy(policy).build().unwrap();
        });
        let counted = warnings.0.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(counted, expected, "{text}");
    }
}
