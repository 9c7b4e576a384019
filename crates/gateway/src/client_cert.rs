//! A client's certificate as events and logs show it, read from its DER form.
//!
//! Nothing is decided here: whether a certificate may be shown at all, the trust store of its domain has said before. Names
//! are written in the certificate's own order, as API Gateway writes them (`C=US,O=Example,CN=client`), and what could be
//! taken for a further attribute is escaped as in RFC 4514.

use std::{fmt::Write as _, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{ClientCert, Validity};

/// Characters on a line of a PEM file.
const PEM_LINE: usize = 64;

const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1E;
const LATIN_STRING: u8 = 0x14;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, constructed: the version of a certificate.
const VERSION: u8 = 0xA0;

impl ClientCert {
    /// Reads a certificate that the trust store of this fingerprint has proved. `None` when it is none, which a proof
    /// rules out.
    pub fn read(der: &[u8], trust: &Arc<str>) -> Option<Self> {
        let mut certificate = Der(Der(der).expect(SEQUENCE)?);
        let mut signed = Der(certificate.expect(SEQUENCE)?);
        if signed.0.first() == Some(&VERSION) {
            signed.next()?;
        }
        let serial = signed.expect(INTEGER)?;
        signed.expect(SEQUENCE)?;
        let issuer = name(signed.expect(SEQUENCE)?)?;
        let mut validity = Der(signed.expect(SEQUENCE)?);
        let not_before = time(validity.next()?)?;
        let not_after = time(validity.next()?)?;
        let subject = name(signed.expect(SEQUENCE)?)?;
        Some(Self {
            pem: pem(der),
            subject,
            issuer,
            serial: hexadecimal(serial),
            validity: Validity { not_before, not_after },
            trust: Arc::clone(trust),
        })
    }
}

/// What is left to read of a sequence of elements.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The tag and the content of the next element.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            // No certificate that fits into a handshake has a length of more than four bytes.
            let count = usize::from(first & 0x7F);
            let (digits, after) =
                rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))?;
            rest = after;
            digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
        };
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, content))
    }

    /// The content of the next element, which has to have this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

/// A distinguished name: sets of attributes.
fn name(content: &[u8]) -> Option<String> {
    let (mut text, mut sets) = (String::new(), Der(content));
    while !sets.0.is_empty() {
        if !text.is_empty() {
            text.push(',');
        }
        let mut attributes = Der(sets.expect(SET)?);
        let mut is_first = true;
        while !attributes.0.is_empty() {
            if !is_first {
                text.push('+');
            }
            is_first = false;
            let mut attribute = Der(attributes.expect(SEQUENCE)?);
            text.push_str(&attribute_name(attribute.expect(OID)?));
            text.push('=');
            let (tag, value) = attribute.next()?;
            escape(&mut text, &string(tag, value));
        }
    }
    Some(text)
}

/// The short name of an attribute's type, or its number.
fn attribute_name(oid: &[u8]) -> String {
    let short = match oid {
        [0x55, 0x04, 0x03] => "CN",
        [0x55, 0x04, 0x04] => "SN",
        [0x55, 0x04, 0x05] => "serialNumber",
        [0x55, 0x04, 0x06] => "C",
        [0x55, 0x04, 0x07] => "L",
        [0x55, 0x04, 0x08] => "ST",
        [0x55, 0x04, 0x09] => "street",
        [0x55, 0x04, 0x0A] => "O",
        [0x55, 0x04, 0x0B] => "OU",
        [0x55, 0x04, 0x0C] => "title",
        [0x55, 0x04, 0x2A] => "GN",
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x01] => "emailAddress",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 0x01, 0x19] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 0x01, 0x01] => "UID",
        oid => return dotted(oid),
    };
    short.to_owned()
}

/// An object identifier in numbers.
fn dotted(oid: &[u8]) -> String {
    let (mut text, mut arc, mut is_first) = (String::new(), 0_u64, true);
    for byte in oid {
        arc = arc.wrapping_shl(7) | u64::from(byte & 0x7F);
        if byte & 0x80 != 0 {
            continue;
        }
        if is_first {
            let root = (arc / 40).min(2);
            _ = write!(text, "{root}.{}", arc - 40 * root);
            is_first = false;
        } else {
            _ = write!(text, ".{arc}");
        }
        arc = 0;
    }
    text
}

/// A text in one of the forms that names have.
fn string(tag: u8, value: &[u8]) -> String {
    match tag {
        BMP_STRING => {
            let units: Vec<u16> =
                value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        LATIN_STRING => value.iter().map(|byte| char::from(*byte)).collect(),
        _ => String::from_utf8_lossy(value).into_owned(),
    }
}

/// Adds a value so that nothing in it reads as a further attribute.
fn escape(text: &mut String, value: &str) {
    for (at, character) in value.char_indices() {
        let is_last = at + character.len_utf8() == value.len();
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => text.push('\\'),
            '#' | ' ' if at == 0 => text.push('\\'),
            ' ' if is_last => text.push('\\'),
            _ => {}
        }
        if character.is_control() {
            _ = write!(text, "\\{:02X}", u32::from(character));
        } else {
            text.push(character);
        }
    }
}

/// A time as `May 28 12:30:02 2019 GMT`.
fn time((tag, content): (u8, &[u8])) -> Option<String> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = std::str::from_utf8(content).ok().filter(|text| text.is_ascii())?;
    let (year, rest): (u32, &str) = match tag {
        UTC_TIME => {
            let year: u32 = text.get(..2)?.parse().ok()?;
            // RFC 5280: 50 and later are of the last century.
            (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
        }
        TIME => (text.get(..4)?.parse().ok()?, &text[4..]),
        _ => return None,
    };
    let pair = |at: usize| rest.get(at..at + 2)?.parse::<usize>().ok();
    let month = MONTHS.get(pair(0)?.checked_sub(1)?)?;
    let (day, hour, minute, second) = (pair(2)?, pair(4)?, pair(6)?, pair(8)?);
    Some(format!("{month} {day:2} {hour:02}:{minute:02}:{second:02} {year} GMT"))
}

/// A number in hexadecimal, with colons between its bytes.
fn hexadecimal(number: &[u8]) -> String {
    // The byte that only says that the number is not negative is none of its own.
    let number = match number {
        [0, rest @ ..] if !rest.is_empty() => rest,
        number => number,
    };
    let mut text = String::with_capacity(3 * number.len());
    for byte in number {
        if !text.is_empty() {
            text.push(':');
        }
        _ = write!(text, "{byte:02x}");
    }
    text
}

fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(PEM_LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that OpenSSL made.
    const CERTIFICATE: &str = "\
        MIIBojCCAUigAwIBAgIDAKELMAoGCCqGSM49BAMCMC4xCzAJBgNVBAYTAkNIMREwDwYDVQQKDAhHYXRlbWlsbDEMMAoGA1UEAwwD\
        b25lMCAXDTI2MTEyODIwNDcyOVoYDzIxMjYxMTA0MjA0NzI5WjAuMQswCQYDVQQGEwJDSDERMA8GA1UECgwIR2F0ZW1pbGwxDDAK\
        BgNVBAMMA29uZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABHQtiGm3WfMXcZJqaGn87M0x2zJHo2rw6TEdb7Qfl8aGpFGBKjqm\
        p9m4teFuA9i4vs3DDNNi60+Ys5UWFJvweV+jUzBRMB0GA1UdDgQWBBS0Pbp6KrwJvfFTRsg56KdOJ0UVIzAfBgNVHSMEGDAWgBS0\
        Pbp6KrwJvfFTRsg56KdOJ0UVIzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCeA/dD0AngVD/Xxp8N/lLUL9wC\
        lILIum0Me+8TToPtHgIgVu92m6OJGC53LAtjL86V8OTNAVVcYtGYdY6aku55uUM=\
        ";

    #[test]
    fn a_certificate_and_what_a_liar_makes_of_it() {
        let mut der = STANDARD.decode(CERTIFICATE).unwrap();
        let trust: Arc<str> = Arc::from("t");
        let read = ClientCert::read(&der, &trust).unwrap();
        assert_eq!((&*read.subject, &*read.serial), ("C=CH,O=Gatemill,CN=one", "a1:0b"));
        assert_eq!(read.issuer, read.subject);
        assert_eq!(read.validity.not_before, "Nov 28 20:47:29 2026 GMT");
        assert_eq!(read.validity.not_after, "Nov  4 20:47:29 2126 GMT");
        let mut lines = read.pem.lines();
        assert!(
            lines.next_back() == Some("-----END CERTIFICATE-----")
                && lines.all(|line| line.len() <= 64)
        );
        // Whatever is cut off or changed, nothing panics.
        for end in 0..der.len() {
            ClientCert::read(&der[..end], &trust);
        }
        for at in 0..der.len() {
            let before = der[at];
            for change in [0, 0x7F, 0x80, 0x84, 0xFF] {
                der[at] = change;
                ClientCert::read(&der, &trust);
            }
            der[at] = before;
        }
    }

    /// What a name of these attributes looks like.
    fn named(attributes: &[(&[u8], u8, &[u8])]) -> String {
        let element = |tag: u8, content: &[u8]| {
            let mut element = vec![tag, u8::try_from(content.len()).unwrap()];
            element.extend_from_slice(content);
            element
        };
        let sets = attributes.iter().flat_map(|(oid, tag, value)| {
            let pair = [element(OID, oid), element(*tag, value)].concat();
            element(SET, &element(SEQUENCE, &pair))
        });
        name(&sets.collect::<Vec<u8>>()).unwrap()
    }

    #[test]
    fn names_in_their_own_order_and_nothing_smuggled() {
        let (c, cn, other): (&[u8], &[u8], &[u8]) =
            (&[0x55, 4, 6], &[0x55, 4, 3], &[0x2A, 0x86, 0x48, 3]);
        assert_eq!(named(&[(c, 0x13, b"US"), (cn, 0x0C, b"me")]), "C=US,CN=me");
        assert_eq!(named(&[(cn, 0x0C, b"a,O=b")]), "CN=a\\,O\\=b");
        assert_eq!(named(&[(cn, 0x0C, b" #x\n ")]), "CN=\\ #x\\0A\\ ");
        assert_eq!(named(&[(cn, BMP_STRING, &[0, 65, 0x20, 0xAC])]), "CN=A€");
        assert_eq!(named(&[(cn, LATIN_STRING, &[0xE9])]), "CN=é");
        assert_eq!(named(&[(other, 0x0C, b"x")]), "1.2.840.3=x");
    }

    #[test]
    fn times_and_numbers() {
        let utc = |text: &str| time((UTC_TIME, text.as_bytes()));
        assert_eq!(utc("190528123002Z").unwrap(), "May 28 12:30:02 2019 GMT");
        assert_eq!(utc("500105000000Z").unwrap(), "Jan  5 00:00:00 1950 GMT");
        assert_eq!(time((TIME, b"21200805002821Z")).unwrap(), "Aug  5 00:28:21 2120 GMT");
        for wrong in ["", "19", "191301000000Z", "190001000000Z", "19052812é00"] {
            assert_eq!(utc(wrong), None, "{wrong}");
        }
        assert_eq!(hexadecimal(&[0, 0xA1, 0x0B]), "a1:0b");
        assert_eq!(hexadecimal(&[0]), "00");
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        let trust: Arc<str> = Arc::from("t");
        for wrong in
            [&b""[..], &[0x30], &[0x30, 0x84, 0xFF], &[0x30, 0x80, 0, 0], &[0x30, 2, 0x30, 0]]
        {
            assert_eq!(ClientCert::read(wrong, &trust), None);
        }
    }
}
