//! Raw bytes flow only after a whole 101 to WebSocket that chose what was offered.

use http::StatusCode;
use lb_core::proxy::fuzzing::opens_tunnel;

pub fn run(data: &[u8]) {
    let Some((status, text)) = data.split_first_chunk::<2>() else {
        return;
    };
    let Ok(status) = StatusCode::from_u16(u16::from_be_bytes(*status)) else {
        return;
    };
    let at = text
        .iter()
        .position(|byte| *byte == b'\r')
        .unwrap_or(text.len());
    let (asked, answered) = text.split_at(at);
    let asked = crate::text::fields(asked.split(|byte| *byte == b'\n'));
    let answer = crate::text::fields(answered.split(|byte| *byte == b'\n'));
    if !opens_tunnel(&asked, status, &answer) {
        return;
    }
    assert_eq!(status, StatusCode::SWITCHING_PROTOCOLS);
    let upgrade: Vec<_> = answer.get_all("upgrade").iter().collect();
    assert!(upgrade.len() == 1 && upgrade[0].as_bytes().eq_ignore_ascii_case(b"websocket"));
    assert_eq!(answer.get_all("sec-websocket-accept").iter().count(), 1);
    if let Some(chosen) = answer.get("sec-websocket-protocol") {
        let offers = asked.get_all("sec-websocket-protocol").iter();
        let mut offers = offers.flat_map(|offer| offer.as_bytes().split(|byte| *byte == b','));
        assert!(offers.any(|offer| offer.trim_ascii() == chosen.as_bytes()));
    }
}
