//! A lexer that knows just enough Rust to tell code, strings and comments apart.
//!
//! It is no parser: rules look at tokens and braces. What it gets wrong would have to be code that rustfmt leaves
//! in a form which nobody here writes.

/// A Rust file, taken apart.
#[derive(Debug)]
pub(crate) struct Lexed {
    /// The text with comments and the contents of literals blanked; same length and lines.
    pub(crate) code: String,
    /// The string literals: byte offset and content.
    pub(crate) strings: Vec<(usize, String)>,
    /// The byte ranges of items under `#[cfg(test)]`.
    pub(crate) tests: Vec<std::ops::Range<usize>>,
}

impl Lexed {
    /// Whether the offset lies in an item under `#[cfg(test)]`.
    pub(crate) fn in_tests(&self, offset: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&offset))
    }

    /// The offsets at which `word` stands alone in code.
    pub(crate) fn words(&self, word: &str) -> Vec<usize> {
        words(&self.code, word)
    }

    /// The end of the item that starts at or after `from`: behind its closing brace or its semicolon, with the
    /// place of the opening brace if it has one.
    pub(crate) fn item_end(&self, from: usize) -> (usize, Option<usize>) {
        let bytes = self.code.as_bytes();
        let mut nested = 0_usize;
        for (i, &byte) in bytes.iter().enumerate().skip(from) {
            match byte {
                b'(' | b'[' => nested += 1,
                b')' | b']' => nested = nested.saturating_sub(1),
                b';' if nested == 0 => return (i + 1, None),
                b'{' if nested == 0 => return (closing(bytes, i), Some(i)),
                _ => {}
            }
        }
        (bytes.len(), None)
    }
}

/// The offsets at which `word` stands alone.
pub(crate) fn words(text: &str, word: &str) -> Vec<usize> {
    let part = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let bytes = text.as_bytes();
    let alone = |i: usize| {
        !part(i.checked_sub(1).and_then(|i| bytes.get(i))) && !part(bytes.get(i + word.len()))
    };
    text.match_indices(word).map(|(i, _)| i).filter(|&i| alone(i)).collect()
}

fn closing(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0_usize;
    for (i, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

/// Takes a file apart.
pub(crate) fn lex(text: &str) -> Lexed {
    let mut lexer = Lexer {
        bytes: text.as_bytes(),
        code: text.as_bytes().to_vec(),
        at: 0,
        strings: Vec::new(),
    };
    lexer.run();
    let code = String::from_utf8_lossy(&lexer.code).into_owned();
    let mut lexed = Lexed { code, strings: lexer.strings, tests: Vec::new() };
    let marks: Vec<usize> =
        lexed.code.match_indices("#[cfg(test)]").map(|(i, mark)| i + mark.len()).collect();
    for mark in marks {
        let (end, _) = lexed.item_end(mark);
        lexed.tests.push(mark..end);
    }
    lexed
}

struct Lexer<'a> {
    bytes: &'a [u8],
    code: Vec<u8>,
    at: usize,
    strings: Vec<(usize, String)>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while self.at < self.bytes.len() {
            let rest = &self.bytes[self.at..];
            if rest.starts_with(b"//") {
                let end = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
                self.blank(self.at, self.at + end);
            } else if rest.starts_with(b"/*") {
                self.block_comment();
            } else if rest[0] == b'"' {
                self.string();
            } else if rest[0] == b'\'' {
                self.quote();
            } else if rest[0] == b'r' && !self.inside_word() && self.raw_string() {
                // Consumed.
            } else {
                self.at += 1;
            }
        }
    }

    fn inside_word(&self) -> bool {
        let before = |back: usize| self.at.checked_sub(back).map(|i| self.bytes[i]);
        let part = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        // `br"…"` and `cr"…"` are raw strings, too.
        let prefixed = matches!(before(1), Some(b'b' | b'c')) && !part(before(2));
        part(before(1)) && !prefixed
    }

    /// Blanks all but line ends, and goes on behind.
    fn blank(&mut self, from: usize, to: usize) {
        for byte in &mut self.code[from..to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        self.at = to;
    }

    fn block_comment(&mut self) {
        let start = self.at;
        let mut depth = 0_usize;
        let mut i = start;
        while i < self.bytes.len() {
            if self.bytes[i..].starts_with(b"/*") {
                depth += 1;
                i += 2;
            } else if self.bytes[i..].starts_with(b"*/") {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    break;
                }
            } else {
                i += 1;
            }
        }
        self.blank(start, i.min(self.bytes.len()));
    }

    fn string(&mut self) {
        let start = self.at + 1;
        let mut i = start;
        while i < self.bytes.len() && self.bytes[i] != b'"' {
            i += if self.bytes[i] == b'\\' { 2 } else { 1 };
        }
        self.literal(start, i.min(self.bytes.len()), 1);
    }

    fn raw_string(&mut self) -> bool {
        let hashes = self.bytes[self.at + 1..].iter().take_while(|&&b| b == b'#').count();
        let start = self.at + 1 + hashes + 1;
        if self.bytes.get(start - 1) != Some(&b'"') {
            return false;
        }
        let end =
            std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect::<Vec<u8>>();
        let length = self.bytes[start..].windows(end.len()).position(|window| window == end);
        self.literal(start, length.map_or(self.bytes.len(), |length| start + length), end.len());
        true
    }

    fn literal(&mut self, start: usize, end: usize, closing: usize) {
        self.strings.push((start, String::from_utf8_lossy(&self.bytes[start..end]).into_owned()));
        self.blank(start, end);
        self.at = (end + closing).min(self.bytes.len());
    }

    /// A character literal, or the start of a lifetime.
    fn quote(&mut self) {
        let start = self.at + 1;
        if self.bytes.get(start) == Some(&b'\\') {
            let length = self.bytes.iter().skip(start + 2).position(|&b| b == b'\'');
            let end = length.map_or(self.bytes.len(), |length| start + 2 + length);
            self.blank(start, end);
            self.at = (end + 1).min(self.bytes.len());
            return;
        }
        // At most four bytes of one character, then the closing quote; else it is a lifetime.
        let window = &self.bytes[start.min(self.bytes.len())..(start + 5).min(self.bytes.len())];
        let width = window.first().map_or(1, |&first| match first {
            0xF0.. => 4,
            0xE0.. => 3,
            0xC0.. => 2,
            _ => 1,
        });
        if window.get(width) == Some(&b'\'') {
            self.blank(start, start + width);
            self.at = start + width + 1;
        } else {
            self.at = start;
        }
    }
}
