use std::io;

use bytes::Bytes;
use http_body::Frame;
use proptest::prelude::*;

use super::*;

/// A body made of these frames, then at its end.
struct Frames(Vec<Result<Frame<Bytes>, io::Error>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.0.is_empty() {
            Poll::Ready(None)
        } else {
            Poll::Ready(Some(self.0.remove(0)))
        }
    }
}

fn pieces(pieces: &[&[u8]]) -> Frames {
    Frames(
        pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
            .collect(),
    )
}

/// Sends everything into memory.
fn send(upload: &mut Upload<Frames>) -> Result<Vec<u8>, UploadError> {
    let mut out = Vec::new();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    loop {
        if let Poll::Ready(result) = upload.poll_send(&mut cx, &mut out) {
            return result.map(|()| out);
        }
    }
}

#[test]
fn a_body_of_known_length_goes_as_it_is() {
    let mut upload = Upload::new(
        b"HEAD ".to_vec(),
        pieces(&[b"ab", b"c"]),
        Framing::Length(3),
        None,
        false,
    );
    assert_eq!(send(&mut upload).unwrap(), b"HEAD abc");
    assert!(upload.is_finished() && upload.is_rewindable());
}

#[test]
fn a_small_request_can_be_sent_twice() {
    let mut upload = Upload::new(
        b"HEAD ".to_vec(),
        pieces(&[b"abc"]),
        Framing::Length(3),
        None,
        false,
    );
    let first = send(&mut upload).unwrap();
    upload.rewind();
    assert_eq!(send(&mut upload).unwrap(), first);
}

#[test]
fn a_large_request_cannot() {
    let large = vec![7; REPLAY_BYTES + 1];
    let mut upload = Upload::new(
        Vec::new(),
        pieces(&[&large]),
        Framing::Length(large.len() as u64),
        None,
        false,
    );
    assert_eq!(send(&mut upload).unwrap().len(), large.len());
    assert!(!upload.is_rewindable());
}

#[test]
fn trailers_that_may_go_follow_the_last_chunk() {
    let mut fields = http::HeaderMap::new();
    fields.insert("x-sum", "1".parse().unwrap());
    fields.insert("content-length", "9".parse().unwrap());
    let frames = Frames(vec![
        Ok(Frame::data(Bytes::from("ab"))),
        Ok(Frame::trailers(fields)),
    ]);
    let mut upload = Upload::new(Vec::new(), frames, Framing::Chunked, None, false);
    assert_eq!(
        send(&mut upload).unwrap(),
        b"2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n"
    );
}

#[test]
fn a_body_that_breaks_its_word_is_the_clients_fault() {
    let fault = |frames, framing, limit| match send(&mut Upload::new(
        Vec::new(),
        frames,
        framing,
        limit,
        false,
    )) {
        Err(UploadError::Client(fault)) => fault,
        other => panic!("{other:?}"),
    };
    let short = fault(pieces(&[b"ab"]), Framing::Length(3), None);
    assert_eq!(short, ProxyError::InvalidBody);
    let long = fault(pieces(&[b"abcd"]), Framing::Length(3), None);
    assert_eq!(long, ProxyError::AmbiguousFraming);
    let large = fault(pieces(&[b"abcd"]), Framing::Chunked, Some(3));
    assert_eq!(large, ProxyError::BodyTooLarge);
    let broken = Frames(vec![Err(io::ErrorKind::InvalidData.into())]);
    assert_eq!(
        fault(broken, Framing::Chunked, None),
        ProxyError::InvalidBody
    );
}

#[test]
fn a_held_body_waits_for_the_word() {
    let mut upload = Upload::new(
        b"HEAD ".to_vec(),
        pieces(&[b"abc"]),
        Framing::Length(3),
        None,
        true,
    );
    let (mut out, mut cx) = (Vec::new(), Context::from_waker(std::task::Waker::noop()));
    assert!(upload.poll_send(&mut cx, &mut out).is_pending());
    assert_eq!(out, b"HEAD ");
    upload.release();
    assert!(upload.poll_send(&mut cx, &mut out).is_ready());
    assert_eq!(out, b"HEAD abc");
}

proptest! {
    /// However a body is cut, the endpoint receives the same bytes, and the
    /// chunked form decodes to them.
    #[test]
    fn no_byte_is_lost_or_made_up(
        sizes in prop::collection::vec(0_usize..9_000, 0..12),
        chunked: bool,
    ) {
        let body: Vec<Vec<u8>> = sizes.iter().zip(0_u8..).map(|(size, fill)| vec![fill; *size]).collect();
        let all = body.concat();
        let parts: Vec<&[u8]> = body.iter().map(Vec::as_slice).collect();
        let framing = if chunked { Framing::Chunked } else { Framing::Length(all.len() as u64) };
        let sent = send(&mut Upload::new(Vec::new(), pieces(&parts), framing, None, false)).unwrap();
        if chunked {
            let mut decoder = crate::proxy::rules::chunked::Decoder::default();
            let (mut input, mut seen) = (Bytes::from(sent), Vec::new());
            loop {
                match decoder.next(&mut input).unwrap() {
                    crate::proxy::rules::chunked::Piece::Data(data) => seen.extend_from_slice(&data),
                    crate::proxy::rules::chunked::Piece::End(_) => break,
                    crate::proxy::rules::chunked::Piece::NeedMore => panic!("the end is missing"),
                }
            }
            prop_assert_eq!(seen, all);
        } else {
            prop_assert_eq!(sent, all);
        }
    }
}
