//! Tar archives from strangers, read entry by entry.
//!
//! POSIX ustar with pax headers, and GNU's long names: what image builders write. Nothing is kept but the current
//! header, and what a header may make us hold in memory is bounded. A sparse file, a name that is no path and a broken
//! checksum end the reading: no builder makes them, and whoever does wants readers to disagree. Where entries go is not
//! decided here.

use std::io::{self, Read};

use crate::{
    Error,
    limits::{PATH_BYTES_MAX, PAX_BYTES_MAX},
};

const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// Its target, as written.
    Symlink(Vec<u8>),
    /// The path of the other name, from the top of the image.
    Hardlink(Vec<u8>),
    /// A device, a pipe: images have no use for them here.
    Special,
}

/// The header of an entry; its contents are read from the [`Archive`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permissions, with setuid, setgid and sticky bits as written.
    pub(crate) mode: u32,
    /// Seconds since 1970.
    pub(crate) modified: i64,
    /// Bytes of contents.
    pub(crate) size: u64,
}

/// What an extended header says of the next entry.
#[derive(Debug, Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<i64>,
}

/// An archive that is being read; as a [`Read`], the contents of the current entry.
#[derive(Debug)]
pub(crate) struct Archive<R> {
    input: R,
    /// Contents of the current entry that are not read yet.
    left: u64,
    /// Zeros behind them, up to a whole block.
    padding: u64,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, left: 0, padding: 0 }
    }

    /// The next entry, past what is left of the one before. `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let mut extended = Extended::default();
        loop {
            self.skip()?;
            let Some(block) = self.block()? else { return Ok(None) };
            let header = Header(block);
            header.check()?;
            let size = header.number(124, 12)?;
            match header.0[156] {
                b'x' => extended.read_pax(&self.extension(size)?)?,
                // Global headers hold comments; what they could change is not changed by any builder.
                b'g' => drop(self.extension(size)?),
                b'L' => extended.path = Some(until_nul(&self.extension(size)?).to_vec()),
                b'K' => extended.link = Some(until_nul(&self.extension(size)?).to_vec()),
                kind => return self.begin(&header, kind, size, extended).map(Some),
            }
        }
    }

    /// Reads what follows the last entry, so that the sum over the whole archive can be made.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.skip()?;
        io::copy(&mut self.input, &mut io::sink()).map_err(unreadable)?;
        Ok(())
    }

    fn begin(
        &mut self,
        header: &Header,
        kind: u8,
        size: u64,
        extended: Extended,
    ) -> Result<Entry, Error> {
        let path = extended.path.unwrap_or_else(|| header.path());
        let link = extended.link.unwrap_or_else(|| until_nul(&header.0[157..257]).to_vec());
        let size = extended.size.unwrap_or(size);
        let kind = match kind {
            // Long ago, a directory was a file whose name ends so.
            0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::Hardlink(link),
            b'2' => Kind::Symlink(link),
            b'3' | b'4' | b'6' => Kind::Special,
            b'5' => Kind::Directory,
            _ => return Err(Error::Invalid("a layer holds an entry of an unknown type")),
        };
        // A link may say the size of what it points to; no contents follow.
        let size = if kind == Kind::File { size } else { 0 };
        if path.len() > PATH_BYTES_MAX || path.contains(&0) {
            return Err(Error::Invalid("a layer holds a name that is no path"));
        }
        if let Kind::Symlink(link) | Kind::Hardlink(link) = &kind
            && (link.is_empty() || link.len() >= PATH_BYTES_MAX || link.contains(&0))
        {
            return Err(Error::Invalid("a layer holds a link to nowhere"));
        }
        self.expect(size);
        let mode = u32::try_from(header.number(100, 8)? & 0o7777).unwrap_or(0);
        let modified = match extended.modified {
            Some(modified) => modified,
            None => i64::try_from(header.number(136, 12)?).unwrap_or(0),
        };
        Ok(Entry { path, kind, mode, modified, size })
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % (BLOCK as u64);
    }

    /// The whole contents of a header's header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > PAX_BYTES_MAX {
            return Err(Error::Invalid("a layer holds a header that is too long"));
        }
        self.expect(size);
        let mut text = Vec::new();
        self.read_to_end(&mut text).map_err(unreadable)?;
        if text.len() as u64 == size { Ok(text) } else { Err(cut_off()) }
    }

    fn skip(&mut self) -> Result<(), Error> {
        let wanted = self.left + self.padding;
        let skipped = io::copy(&mut (&mut self.input).take(wanted), &mut io::sink());
        if skipped.map_err(unreadable)? < wanted {
            return Err(cut_off());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// The next block; `None` at the end: a block of zeros, or nothing more.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            match self.input.read(&mut block[have..]) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) => return Err(cut_off()),
                Ok(read) => have += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        Ok((block != [0; BLOCK]).then_some(block))
    }
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&mut self.input).take(self.left).read(buffer)?;
        self.left -= read as u64;
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(read)
    }
}

struct Header([u8; BLOCK]);

impl Header {
    fn check(&self) -> Result<(), Error> {
        let sum = |byte: &u8| u64::from(*byte);
        let written: u64 = self.0[148..156].iter().map(sum).sum();
        let spaces = 8 * u64::from(b' ');
        let all: u64 = self.0.iter().map(sum).sum();
        if self.number(148, 8)? == all - written + spaces {
            Ok(())
        } else {
            Err(Error::Invalid("a layer is no tar archive"))
        }
    }

    /// A number in octal digits, or in GNU's base 256. Negative ones, as times before 1970, count as 0.
    fn number(&self, at: usize, length: usize) -> Result<u64, Error> {
        let wrong = || Error::Invalid("a layer holds a header without numbers");
        let field = &self.0[at..at + length];
        if field[0] & 0x80 != 0 {
            if field[0] & 0x40 != 0 {
                return Ok(0);
            }
            let (high, low) = field.split_at(length.saturating_sub(8));
            if high.iter().skip(1).any(|byte| *byte != 0)
                || high.first().is_some_and(|b| b & 0x3f != 0)
            {
                return Err(wrong());
            }
            let mut number = [0; 8];
            number[8 - low.len()..].copy_from_slice(low);
            if high.is_empty() {
                number[0] &= 0x3f;
            }
            return Ok(u64::from_be_bytes(number));
        }
        let text = until_nul(field);
        let text = text.trim_ascii();
        text.iter().try_fold(0_u64, |number, digit| match digit {
            b'0'..=b'7' => number
                .checked_mul(8)
                .and_then(|number| number.checked_add(u64::from(digit - b'0')))
                .ok_or_else(wrong),
            _ => Err(wrong()),
        })
    }

    fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        // GNU's own format has other fields where ustar has the prefix.
        let prefix = until_nul(&self.0[345..500]);
        if &self.0[257..263] != b"ustar\0" || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }
}

impl Extended {
    /// Records `<length> <key>=<value>\n`, the length that of the whole record.
    fn read_pax(&mut self, mut text: &[u8]) -> Result<(), Error> {
        let wrong = || Error::Invalid("a layer holds a broken extended header");
        while !text.is_empty() {
            let space = text.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length: usize = number(&text[..space]).ok_or_else(wrong)?;
            let (record, rest) = text.split_at_checked(length).ok_or_else(wrong)?;
            let record = record.get(space + 1..).and_then(|r| r.strip_suffix(b"\n"));
            let record = record.ok_or_else(wrong)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number(value).ok_or_else(wrong)?),
                b"mtime" => {
                    let whole = value.split(|byte| *byte == b'.').next().unwrap_or_default();
                    self.modified = Some(number(whole).unwrap_or(0));
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(Error::Invalid("a layer holds a sparse file"));
                }
                _ => {}
            }
            text = rest;
        }
        Ok(())
    }
}

fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    str::from_utf8(digits).ok()?.parse().ok()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn cut_off() -> Error {
    Error::Invalid("a layer is cut off")
}

/// What the decompressor says: a fault of the archive, or the limit on what comes out of it.
pub(crate) fn unreadable(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(_) => Error::Invalid("a layer cannot be decompressed"),
    }
}

#[cfg(test)]
#[path = "tar_tests.rs"]
mod tests;
