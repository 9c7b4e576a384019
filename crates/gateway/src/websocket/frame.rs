//! Frames and messages of RFC 6455, from bytes and to bytes; sockets are somebody else's.
//!
//! Our own and no library's, because of three things: an idle connection holds no buffer at all (a library keeps one for
//! reading), API Gateway's limits have close codes of their own (a frame of more than 32 KB, a message of more than
//! 128 KB, anything binary), and what is sent to many connections is encoded once. Extensions are never negotiated, so
//! reserved bits are always a fault. Text is checked as it comes, so that a fault is found at its first byte.

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// A whole message.
    Text(String),
    /// To be answered with a pong of the same bytes.
    Ping(Bytes),
    Pong,
    /// Its last word.
    Close {
        code: Option<u16>,
        reason: String,
    },
}

/// Why a connection has to end: the close code, and the reason for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

/// The close codes that are used here.
pub(crate) mod code {
    pub(crate) const NORMAL: u16 = 1000;
    pub(crate) const GOING_AWAY: u16 = 1001;
    pub(crate) const PROTOCOL: u16 = 1002;
    pub(crate) const UNSUPPORTED: u16 = 1003;
    /// Never sent: the client's close frame had no code.
    pub(crate) const NO_STATUS: u16 = 1005;
    /// Never sent: there was no close frame.
    pub(crate) const ABNORMAL: u16 = 1006;
    pub(crate) const INVALID: u16 = 1007;
    pub(crate) const TOO_BIG: u16 = 1009;
}

const fn violation(code: u16, reason: &'static str) -> Violation {
    Violation { code, reason }
}

const MALFORMED: Violation = violation(code::PROTOCOL, "Protocol error");
const NOT_UTF8: Violation = violation(code::INVALID, "Invalid UTF-8");
const BINARY: Violation = violation(code::UNSUPPORTED, "Binary frames are not supported");
const TOO_BIG: Violation = violation(code::TOO_BIG, "Message too big");

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY_OPCODE: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// The longest head: two bytes, eight of length, four of mask.
const HEAD_MAX: usize = 14;
/// The longest payload of a control frame.
const CONTROL_MAX: usize = 125;

/// Reads what a client sends. Holds memory only for a message that has begun.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    head: [u8; HEAD_MAX],
    head_length: u8,
    frame: Option<Frame>,
    /// The payload of a control frame, which may come between the frames of a message.
    control: Vec<u8>,
    message: Vec<u8>,
    /// How much of the message is known to be UTF-8.
    valid: usize,
    in_message: bool,
}

/// A frame whose head was read.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: u8,
    is_last: bool,
    left: usize,
    mask: u32,
}

impl Reader {
    /// Reads on; `input` is advanced by what was taken. `None` when all of it was taken and nothing is whole.
    pub(crate) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Said>, Violation> {
        loop {
            let Some(frame) = self.frame else {
                match self.read_head(input)? {
                    Some(frame) => self.frame = Some(frame),
                    None => return Ok(None),
                }
                continue;
            };
            self.take_payload(frame, input)?;
            let Some(frame) = self.frame.filter(|frame| frame.left == 0) else { return Ok(None) };
            self.frame = None;
            if let Some(said) = self.finish(frame)? {
                return Ok(Some(said));
            }
        }
    }

    fn read_head(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Violation> {
        loop {
            let have = usize::from(self.head_length);
            if have >= 2 {
                check_start(self.head[0], self.head[1])?;
                if have == head_length(self.head[1]) {
                    self.head_length = 0;
                    return self.begin().map(Some);
                }
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            self.head[have] = byte;
            self.head_length += 1;
            *input = rest;
        }
    }

    /// Checks a head that is whole.
    fn begin(&mut self) -> Result<Frame, Violation> {
        let head = &self.head;
        let (length, mask_at) = match head[1] & !MASKED {
            126 => (u64::from(u16::from_be_bytes([head[2], head[3]])), 4),
            127 => {
                let mut eight = [0; 8];
                eight.copy_from_slice(&head[2..10]);
                (u64::from_be_bytes(eight), 10)
            }
            short => (u64::from(short), 2),
        };
        let least = match mask_at {
            4 => 126,
            10 => 1 << 16,
            _ => 0,
        };
        if length < least || length > i64::MAX.unsigned_abs() {
            return Err(MALFORMED);
        }
        let mut mask = [0; 4];
        mask.copy_from_slice(&head[mask_at..mask_at + 4]);
        let (opcode, is_last) = (head[0] & 0x0f, head[0] & FIN != 0);
        match opcode {
            CONTINUATION if !self.in_message => return Err(MALFORMED),
            TEXT if self.in_message => return Err(MALFORMED),
            TEXT => self.in_message = true,
            _ => {}
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        // A control frame was measured already, and is no part of the message.
        let before = if opcode >= CLOSE { 0 } else { self.message.len() };
        if length > FRAME_BYTES_MAX || before + length > MESSAGE_BYTES_MAX {
            return Err(TOO_BIG);
        }
        Ok(Frame { opcode, is_last, left: length, mask: u32::from_ne_bytes(mask) })
    }

    fn take_payload(&mut self, frame: Frame, input: &mut &[u8]) -> Result<(), Violation> {
        let taken = frame.left.min(input.len());
        let (payload, rest) = input.split_at(taken);
        *input = rest;
        let is_control = frame.opcode >= CLOSE;
        let into = if is_control { &mut self.control } else { &mut self.message };
        let from = into.len();
        into.extend_from_slice(payload);
        unmask(&mut into[from..], frame.mask);
        if !is_control {
            self.check_text()?;
        }
        let mask = frame.mask.to_ne_bytes();
        let turned = std::array::from_fn(|nth| mask[(nth + taken) % 4]);
        self.frame =
            Some(Frame { left: frame.left - taken, mask: u32::from_ne_bytes(turned), ..frame });
        Ok(())
    }

    fn check_text(&mut self) -> Result<(), Violation> {
        match std::str::from_utf8(&self.message[self.valid..]) {
            Ok(_) => self.valid = self.message.len(),
            Err(error) if error.error_len().is_some() => return Err(NOT_UTF8),
            // It ends within a character.
            Err(error) => self.valid += error.valid_up_to(),
        }
        Ok(())
    }

    fn finish(&mut self, frame: Frame) -> Result<Option<Said>, Violation> {
        match frame.opcode {
            CLOSE => close(&std::mem::take(&mut self.control)).map(Some),
            PING => Ok(Some(Said::Ping(Bytes::from(std::mem::take(&mut self.control))))),
            PONG => {
                self.control = Vec::new();
                Ok(Some(Said::Pong))
            }
            _ if !frame.is_last => Ok(None),
            _ => {
                self.in_message = false;
                self.valid = 0;
                let text = String::from_utf8(std::mem::take(&mut self.message));
                Ok(Some(Said::Text(text.map_err(|_| NOT_UTF8)?)))
            }
        }
    }
}

/// Checks the first two bytes of a frame.
fn check_start(first: u8, second: u8) -> Result<(), Violation> {
    let (opcode, length) = (first & 0x0f, usize::from(second & !MASKED));
    let has_reserved_bits = first & 0x70 != 0;
    if has_reserved_bits || second & MASKED == 0 {
        return Err(MALFORMED);
    }
    match opcode {
        CONTINUATION | TEXT => Ok(()),
        BINARY_OPCODE => Err(BINARY),
        CLOSE | PING | PONG if first & FIN != 0 && length <= CONTROL_MAX => Ok(()),
        _ => Err(MALFORMED),
    }
}

/// The length of a head whose second byte this is; frames of clients are masked.
fn head_length(second: u8) -> usize {
    match second & !MASKED {
        126 => 8,
        127 => 14,
        _ => 6,
    }
}

fn unmask(bytes: &mut [u8], mask: u32) {
    let (words, rest) = bytes.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ mask).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.to_ne_bytes()) {
        *byte ^= mask;
    }
}

fn close(payload: &[u8]) -> Result<Said, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(Said::Close { code: None, reason: String::new() }),
        [_] => return Err(MALFORMED),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    let legal = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if !legal {
        return Err(MALFORMED);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| NOT_UTF8)?;
    Ok(Said::Close { code: Some(code), reason: reason.to_owned() })
}

/// A text message, in frames of 32 KB at most.
pub(crate) fn text(payload: &[u8]) -> Bytes {
    let frames = payload.len().div_ceil(FRAME_BYTES_MAX).max(1);
    let mut bytes = BytesMut::with_capacity(payload.len() + frames * 10);
    let mut rest = payload;
    for nth in 0..frames {
        let (piece, after) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
        let opcode = if nth == 0 { TEXT } else { CONTINUATION };
        let last = if nth + 1 == frames { FIN } else { 0 };
        put_frame(&mut bytes, opcode | last, piece);
        rest = after;
    }
    bytes.freeze()
}

/// A pong.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    control(PONG, payload)
}

/// A close frame; without a code it is empty.
pub(crate) fn closing(code: Option<u16>, reason: &str) -> Bytes {
    let mut payload = Vec::new();
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        // Our own reasons are short, and a client's fitted into such a frame.
        payload.extend_from_slice(&reason.as_bytes()[..reason.len().min(CONTROL_MAX - 2)]);
    }
    control(CLOSE, &payload)
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload.len() + 2);
    put_frame(&mut bytes, FIN | opcode, payload);
    bytes.freeze()
}

fn put_frame(bytes: &mut BytesMut, first: u8, payload: &[u8]) {
    bytes.put_u8(first);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => bytes.put_u8(length),
        (_, Ok(length)) => {
            bytes.put_u8(126);
            bytes.put_u16(length);
        }
        (_, Err(_)) => {
            bytes.put_u8(127);
            bytes.put_u64(payload.len() as u64);
        }
    }
    bytes.put_slice(payload);
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
