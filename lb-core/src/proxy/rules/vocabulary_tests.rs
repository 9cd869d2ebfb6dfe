use bytes::Bytes;
use http::{HeaderMap, Method};
use proptest::prelude::*;

use super::super::response::{Answer, InvalidAnswer, parse};
use super::*;

type Parsed = (Result<Option<Answer>, InvalidAnswer>, HeaderMap);

fn parsed(text: &[u8], vocabulary: &mut Vocabulary) -> Parsed {
    let mut fields = HeaderMap::new();
    let bytes = Bytes::copy_from_slice(text);
    let answer = parse(&bytes, &Method::GET, &mut fields, vocabulary);
    (answer, fields)
}

/// What memory alone says of a head.
fn recalled(text: &'static str, vocabulary: &mut Vocabulary) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let bytes = Bytes::from_static(text.as_bytes());
    let read = vocabulary.recall(&bytes, |name, _, value| {
        values.push(format!("{name}={}", value.to_str().unwrap()));
        Some(())
    });
    read.map(|(start, length)| {
        assert_eq!(length, text.len());
        values.push(start.status.to_string());
        values
    })
}

#[test]
fn a_name_means_the_same_however_it_is_spelt() {
    let mut vocabulary = Vocabulary::new();
    for spelling in ["Content-Length", "content-length", "CONTENT-LENGTH"] {
        let (name, meaning) = vocabulary.read(0, spelling.as_bytes(), b"1").unwrap();
        assert_eq!(
            (name, meaning),
            (header::CONTENT_LENGTH, Meaning::ContentLength)
        );
    }
    assert_eq!(
        vocabulary.read(0, b"Upgrade", b"x").unwrap().1,
        Meaning::Hop
    );
    assert_eq!(
        vocabulary.read(0, b"X-Any", b"x").unwrap().1,
        Meaning::Plain
    );
}

#[test]
fn a_head_like_the_last_one_is_not_parsed_again() {
    let mut vocabulary = Vocabulary::new();
    let first = "HTTP/1.1 200 OK\r\nserver: a\r\nETag: 1\r\ncontent-length: 2\r\n\r\n";
    assert_eq!(recalled(first, &mut vocabulary), None);
    parsed(first.as_bytes(), &mut vocabulary).0.unwrap();
    let same = recalled(first, &mut vocabulary).unwrap();
    assert_eq!(same, ["server=a", "etag=1", "content-length=2", "200 OK"]);
    let other = "HTTP/1.1 200 OK\r\nserver: a\r\nETag: other\r\ncontent-length: 33\r\n\r\n";
    let other = recalled(other, &mut vocabulary).unwrap();
    assert_eq!(
        other,
        ["server=a", "etag=other", "content-length=33", "200 OK"]
    );
    let shorter = "HTTP/1.1 200 OK\r\nserver: a\r\n\r\n";
    assert_eq!(
        recalled(shorter, &mut vocabulary).unwrap(),
        ["server=a", "200 OK"]
    );
}

#[test]
fn what_is_not_known_is_left_to_the_parser() {
    let mut vocabulary = Vocabulary::new();
    let known = "HTTP/1.1 200 OK\r\nserver: a\r\nx-long: b\r\n\r\n";
    parsed(known.as_bytes(), &mut vocabulary).0.unwrap();
    for other in [
        "HTTP/1.1 201 OK\r\nserver: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nServer: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nserver: a \r\n\r\n",
        "HTTP/1.1 200 OK\r\nserver:  a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nserver:a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nserver: a\n\r\n",
        "HTTP/1.1 200 OK\r\nserver: a\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nserver: \u{1}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nserver: a\r\nx-long: b\r\nx-more: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nserver: a\r\nx-long: b\r\n",
        "HTTP/1.1 200 OK\r\nserver: b",
    ] {
        assert_eq!(recalled(other, &mut vocabulary), None, "{other:?}");
    }
}

#[test]
fn a_value_that_came_often_enough_is_remembered() {
    let mut vocabulary = Vocabulary::new();
    let head = |value: &str| format!("HTTP/1.1 200 OK\r\ndate: {value}\r\n\r\n").into_bytes();
    parsed(&head("one"), &mut vocabulary).0.unwrap();
    for _ in 1..PATIENCE {
        parsed(&head("two"), &mut vocabulary).0.unwrap();
        assert_eq!(vocabulary.lines[0].value.as_ref().unwrap(), "one");
    }
    parsed(&head("two"), &mut vocabulary).0.unwrap();
    assert_eq!(vocabulary.lines[0].value.as_ref().unwrap(), "two");
}

/// A line of a head, well formed or not.
fn line() -> impl Strategy<Value = String> {
    let name = "content-length|Connection|te|x|[a-z]{0,2}|x{159,162}|endpoint-load-metrics";
    let colon = ":|: | : |:  |:\t";
    let value = "1|2|close|te, x|chunked|[a-c\t\u{0}\u{7f}\u{e9} ]{0,3}|v{150,170}";
    let end = "\r\n|\r\n|\r\n|\n|\r| \r\n|\r\n ";
    (name, colon, value, end).prop_map(|(name, colon, value, end)| name + &colon + &value + &end)
}

/// A head, mostly of few lines.
fn head() -> impl Strategy<Value = String> {
    let start = "(HTTP/1.[01] (200 OK|404|304 |99 x)(\r)?\n){1,2}";
    let count = prop_oneof![9 => 0..6_usize, 1 => PLACES - 1..PLACES + 4];
    let lines = count.prop_flat_map(|count| prop::collection::vec(line(), count));
    let end = "\r\n|\r\n|\r\n|\r\nbody|";
    (start, lines, end).prop_map(|(start, lines, end)| start + &lines.concat() + &end)
}

proptest! {
    /// What was read before never changes what is read now.
    #[test]
    fn memory_makes_no_difference(
        heads in prop::collection::vec(head(), 1..8),
        repeats in prop::collection::vec(0_usize..8, 0..16),
    ) {
        let mut vocabulary = Vocabulary::new();
        for at in repeats.iter().map(|at| at % heads.len()).chain(0..heads.len()) {
            let text = heads[at].as_bytes();
            let fresh = parsed(text, &mut Vocabulary::new());
            let seen = parsed(text, &mut vocabulary);
            prop_assert_eq!(&seen.0, &fresh.0, "{:?}", heads[at]);
            if let Ok(Some(_)) = fresh.0 {
                prop_assert_eq!(seen.1, fresh.1);
            }
            prop_assert!(vocabulary.lines.len() <= PLACES && vocabulary.starts.len() <= STARTS);
        }
    }

    /// The usual case: the same few lines in any order, with values that vary.
    #[test]
    fn memory_makes_no_difference_to_usual_heads(
        heads in prop::collection::vec(
            prop::collection::vec("(server: [ab]|content-length: [12]|etag: [ab]{1,2}|date: [ab])\r\n", 0..5),
            1..40,
        ),
    ) {
        let mut vocabulary = Vocabulary::new();
        for lines in heads {
            let text = format!("HTTP/1.1 200 OK\r\n{}\r\n", lines.concat()).into_bytes();
            let fresh = parsed(&text, &mut Vocabulary::new());
            prop_assert_eq!(parsed(&text, &mut vocabulary), fresh);
        }
    }
}
