//! The Basic Encoding Rules, as far as reading needs them.
//!
//! Signatures of packages come in BER, with lengths that are not told ahead; certificates in DER, which is a part of it. An
//! element is a view into the bytes. What is nested too deep, cut off, or tagged with more than a byte is refused.

/// How deep elements of untold length may be nested: a signature has four.
const DEPTH_MAX: usize = 16;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8: u8 = 0x0C;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xA0;
/// `[1]`, constructed.
pub(super) const CONTEXT_1: u8 = 0xA1;
/// `[3]`, constructed.
pub(super) const CONTEXT_3: u8 = 0xA3;

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// Tag, length and content.
    pub(super) whole: &'a [u8],
    /// Whether its length is told ahead.
    pub(super) is_definite: bool,
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element, whatever it is.
    pub(super) fn next(&mut self) -> Option<Element<'a>> {
        let (element, rest) = element(self.0, DEPTH_MAX)?;
        self.0 = rest;
        Some(element)
    }

    /// The next element, which has to have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }

    /// The next element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        if self.0.first() == Some(&tag) { self.next() } else { None }
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Element<'a> {
    pub(super) fn inside(self) -> Reader<'a> {
        Reader(self.content)
    }

    /// All elements inside; `None` when one is malformed.
    pub(super) fn children(self) -> Option<Vec<Element<'a>>> {
        let mut reader = self.inside();
        let mut children = Vec::new();
        while !reader.is_empty() {
            children.push(reader.next()?);
        }
        Some(children)
    }
}

fn element(bytes: &[u8], depth: usize) -> Option<(Element<'_>, &[u8])> {
    let (&tag, after_tag) = bytes.split_first()?;
    if tag & 0x1F == 0x1F {
        return None;
    }
    let (&first, mut content) = after_tag.split_first()?;
    if first == 0x80 {
        return untold(bytes, depth.checked_sub(1)?);
    }
    let mut length = usize::from(first);
    if first > 0x80 {
        let (octets, rest) = content.split_at_checked(usize::from(first & 0x7F))?;
        if octets.len() > 4 {
            return None;
        }
        length = octets.iter().fold(0, |length, octet| (length << 8) | usize::from(*octet));
        content = rest;
    }
    let (content, rest) = content.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len() - rest.len())?;
    Some((Element { tag, content, whole, is_definite: true }, rest))
}

/// An element that ends with two zero octets.
fn untold(bytes: &[u8], depth: usize) -> Option<(Element<'_>, &[u8])> {
    let (head, inside) = bytes.split_at_checked(2)?;
    let tag = *head.first()?;
    // A primitive element has no elements inside by which its end would be found.
    if tag & 0x20 == 0 {
        return None;
    }
    let mut left = inside;
    while !left.starts_with(&[0, 0]) {
        (_, left) = element(left, depth)?;
    }
    let content = inside.get(..inside.len() - left.len())?;
    let rest = left.get(2..)?;
    let whole = bytes.get(..bytes.len() - rest.len())?;
    Some((Element { tag, content, whole, is_definite: false }, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths() {
        let mut short = Reader(&[0x02, 1, 5, 9]);
        assert_eq!(short.expect(INTEGER).unwrap().content, [5]);
        assert_eq!(short.0, [9]);
        let long = [&[0x04, 0x81, 200][..], &[7; 200]].concat();
        assert_eq!(Reader(&long).next().unwrap().content.len(), 200);
        let untold = [0x30, 0x80, 0x30, 0x80, 0x02, 1, 5, 0, 0, 0, 0, 1];
        let mut reader = Reader(&untold);
        let outer = reader.next().unwrap();
        assert!(!outer.is_definite);
        assert_eq!((outer.whole, reader.0), (&untold[..11], &untold[11..]));
        assert_eq!(outer.children().unwrap()[0].children().unwrap()[0].content, [5]);
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 2, 1],
            &[0x30, 0x80],
            &[0x04, 0x80, 0, 0],
            &[0x1F, 1, 1],
            &[0x30, 0x85, 0, 0, 0, 0, 1, 1],
        ] {
            assert_eq!(Reader(bad).next(), None, "{bad:?}");
        }
        assert_eq!(Reader(&[0x30, 0x80].repeat(100_000)).next(), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(element) = Reader(&bytes).next() {
                let _ = element.children();
            }
        }
    }
}
