//! Messages to the kernel's routing interface (rtnetlink), written by hand: four kinds of message do not need a library.

use std::io;
use std::mem::size_of;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

const HEADER: usize = size_of::<libc::nlmsghdr>();

/// A socket to the routing interface of the network namespace in which it was opened, wherever it is used later.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// Messages that are sent together. Each is answered.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where the last message begins.
    last: usize,
    count: u32,
}

/// An interface's header: its number (0 where it is named otherwise), its flags, and which of them are meant.
pub(super) fn interface(index: u32, flags: i32, change: i32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

impl Socket {
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        // NETLINK_ROUTE is protocol 0, the one that is meant where none is named.
        Ok(Self(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?))
    }

    /// Sends all messages and waits for the answers.
    ///
    /// # Errors
    /// Of the first message that failed; the ones behind it were tried, too.
    pub(super) fn run(&self, mut batch: Batch) -> io::Result<()> {
        batch.close();
        rustix::io::write(&self.0, &batch.bytes)?;
        let mut result = Ok(());
        let mut answered = 0;
        let mut buffer = [0; 8192];
        while answered < batch.count {
            let length = rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut buffer))?;
            let mut rest = &buffer[..length];
            while let Some((message, behind)) = split_message(rest) {
                rest = behind;
                if let Some(errno) = read_answer(message) {
                    answered += 1;
                    if errno != 0 && result.is_ok() {
                        result = Err(io::Error::from_raw_os_error(errno));
                    }
                }
            }
        }
        result
    }
}

impl Batch {
    /// Begins a message: its type, flags beside the usual ones, and the header of that type.
    pub(super) fn message(&mut self, kind: u16, flags: i32, header: &[u8]) -> &mut Self {
        self.close();
        self.last = self.bytes.len();
        self.count += 1;
        let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags).unwrap_or(0);
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(header);
        self
    }

    /// Adds an attribute to the message.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an attribute whose value is what `fill` adds.
    pub(super) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.attribute(kind, &[]);
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Adds bytes that are no attribute.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self
    }

    /// Writes the length of the last message.
    fn close(&mut self) {
        if self.count > 0 {
            let length = u32::try_from(self.bytes.len() - self.last).unwrap_or(u32::MAX);
            self.bytes[self.last..self.last + 4].copy_from_slice(&length.to_ne_bytes());
        }
    }
}

fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    if length < HEADER {
        return None;
    }
    let message = bytes.get(..length)?;
    Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The error number of an answer, 0 for success.
fn read_answer(message: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    if i32::from(kind) != libc::NLMSG_ERROR {
        return None;
    }
    let code = i32::from_ne_bytes(message.get(HEADER..HEADER + 4)?.try_into().ok()?);
    Some(-code)
}
