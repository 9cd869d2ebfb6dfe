//! HTTP/2 frames as bytes (RFC 9113, 4.1), well-formed or not as the caller likes.

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const PING: u8 = 0x6;
pub(super) const GOAWAY: u8 = 0x7;
pub(super) const CONTINUATION: u8 = 0x9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const INITIAL_WINDOW_SIZE: u16 = 0x4;

/// One frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The preface and the first settings.
pub(super) fn hello(window: Option<u32>) -> Vec<u8> {
    let mut settings = Vec::new();
    if let Some(window) = window {
        settings.extend_from_slice(&INITIAL_WINDOW_SIZE.to_be_bytes());
        settings.extend_from_slice(&window.to_be_bytes());
    }
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &settings));
    bytes
}

/// A header block without compression (RFC 7541): names and values as they are.
pub(super) fn block(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a"),
    ];
    for (name, value) in pseudo.iter().chain(fields) {
        // 6.2.2: literal without indexing, new name, no Huffman coding.
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap_or(126).min(126));
            bytes.extend_from_slice(&text.as_bytes()[..text.len().min(126)]);
        }
    }
    bytes
}

/// The kind of each whole frame at the front, taken out of the buffer.
pub(super) fn take_kinds(buffer: &mut Vec<u8>) -> Vec<u8> {
    let mut kinds = Vec::new();
    let mut at = 0;
    while let Some(head) = buffer.get(at..at + 9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let kind = head[3];
        if buffer.len() < at + 9 + length {
            break;
        }
        kinds.push(kind);
        at += 9 + length;
    }
    buffer.drain(..at);
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_again_and_a_cut_one_stays() {
        let mut buffer = frame(PING, 0, 0, &[0; 8]);
        buffer.extend(frame(GOAWAY, 0, 0, &[0; 8]));
        buffer.extend_from_slice(&frame(DATA, 0, 1, b"cut")[..10]);
        assert_eq!(take_kinds(&mut buffer), [PING, GOAWAY]);
        assert_eq!(buffer.len(), 10);
    }
}
