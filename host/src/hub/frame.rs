use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as Wire;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// A control frame has 125 bytes, and two of them are the code.
const REASON_BYTES_MAX: usize = 123;

/// One JSON document as it stands on a WebSocket, header and text in one piece. A server's frames are not masked, so the
/// same bytes suit every client and are made once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    bytes: Bytes,
    /// Where the text begins. A header has at most 10 bytes.
    text_at: u8,
}

impl Frame {
    pub(super) fn text(json: String) -> Self {
        let length = json.len();
        let bytes = formatted(Wire::message(json, OpCode::Data(Data::Text), true));
        let text_at = u8::try_from(bytes.len() - length).unwrap_or(0);
        Self { bytes, text_at }
    }

    #[cfg(test)]
    pub(super) fn raw(bytes: Bytes) -> Self {
        Self { bytes, text_at: 0 }
    }

    /// Header and text.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The text alone.
    pub(super) fn json(&self) -> &[u8] {
        self.bytes.get(usize::from(self.text_at)..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

pub(super) fn ping() -> Bytes {
    formatted(Wire::ping(Bytes::new()))
}

pub(super) fn close(code: u16, reason: &str) -> Bytes {
    let reason = reason.get(..reason.floor_char_boundary(REASON_BYTES_MAX)).unwrap_or_default();
    formatted(Wire::close(Some(CloseFrame { code: code.into(), reason: reason.into() })))
}

fn formatted(frame: Wire) -> Bytes {
    let mut bytes = Vec::with_capacity(frame.len());
    // To write into memory does not fail.
    let _ = frame.format(&mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_its_header_and_its_text() {
        for (length, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let json = "x".repeat(length);
            let frame = Frame::text(json.clone());
            assert_eq!((frame.len(), frame.json()), (header + length, json.as_bytes()));
            assert_eq!(frame.bytes()[0], 0x81, "final, text, not masked");
        }
        assert_eq!(&ping()[..], [0x89, 0]);
        assert_eq!(&close(4008, "ä")[..], [0x88, 4, 0x0f, 0xa8, 0xc3, 0xa4]);
        assert_eq!(close(4008, &"ä".repeat(100)).len(), 2 + 2 + 122);
    }
}
