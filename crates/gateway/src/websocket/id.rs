//! Connection ids: 16 characters as AWS's, which say on which node the connection is and cannot be guessed.
//!
//! Eleven bytes in base64 that may stand in a URL: two of the node, so that with several nodes any of them knows where to
//! pass a message on to without asking anybody, and nine at random.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use gatemill_wire::Entropy;

/// The id of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId([u8; 11]);

impl ConnectionId {
    /// A new one on this node.
    pub(crate) fn new(node: u16, entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 11];
        entropy.fill(&mut bytes[2..]);
        bytes[..2].copy_from_slice(&node.to_be_bytes());
        // A connection's first characters shall not be the same as all others'.
        bytes[0] ^= bytes[2];
        bytes[1] ^= bytes[3];
        Self(bytes)
    }

    /// Reads an id; `None` when it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 12];
        let length = URL_SAFE.decode_slice(text, &mut bytes).ok()?;
        (length == 11).then(|| Self(std::array::from_fn(|nth| bytes[nth])))
    }

    /// The node that has the connection.
    pub(crate) fn node(self) -> u16 {
        let bytes = self.0;
        u16::from_be_bytes([bytes[0] ^ bytes[2], bytes[1] ^ bytes[3]])
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE.encode(self.0))
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.iter_mut().enumerate().for_each(|(nth, byte)| {
                *byte = self.0.wrapping_add(u8::try_from(nth).unwrap());
            });
        }
    }

    #[test]
    fn an_id_carries_its_node() {
        for node in [0, 1, 513, u16::MAX] {
            let id = ConnectionId::new(node, &Fixed(200));
            let text = id.to_string();
            assert!(text.len() == 16 && text.ends_with('='), "{text}");
            assert_eq!((ConnectionId::parse(&text), id.node()), (Some(id), node));
        }
        for text in
            ["", "x", "AAAAAAAAAAAAAAAA", "R0oXAdfD0kwCH6w", "R0oXAdfD0kwCH6/=", "????????????????"]
        {
            assert_eq!(ConnectionId::parse(text), None, "{text}");
        }
    }
}
