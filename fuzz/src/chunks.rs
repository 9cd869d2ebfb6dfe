//! A chunked body is read the same however it is cut, and what we write comes back.

use lb_core::proxy::fuzzing::{decode, encode};

pub fn run(data: &[u8]) {
    let Some((cut, body)) = data.split_first() else {
        return;
    };
    let whole = decode(&[body]);
    let pieces: Vec<&[u8]> = body.chunks(usize::from(*cut).max(1)).collect();
    assert_eq!(whole, decode(&pieces), "the cut decides");
    if let Some((bytes, trailers, rest)) = whole {
        assert!(bytes.len() + rest <= body.len(), "bytes are made up");
        let written = encode(&[&bytes], trailers.as_ref());
        assert_eq!(decode(&[&written]), Some((bytes, trailers, 0)));
    }
    let written = encode(&pieces, None);
    let read = decode(&written.chunks(7).collect::<Vec<_>>());
    assert_eq!(read, Some((body.to_vec(), None, 0)));
}
