//! A shared library with one function: it changes the working directory to the function's folder.
//!
//! A Java virtual machine that waits for its function was started in `/`, and Java has no way to leave it: the property
//! `user.dir` is a text, and files that are named relatively are opened where the process is. So Java's client loads
//! this library and calls it once when it is told its function. It is laid out here byte by byte, because a machine
//! that has a JDK need not have a C compiler: a header, four segments, one symbol and five instructions.

/// What the Java client calls: `static native int enter()` of `gatemill.runtime.WorkingDirectory`. It returns zero, or
/// the error number's negative.
const SYMBOL: &[u8] = b"Java_gatemill_runtime_WorkingDirectory_enter";
const DIRECTORY: &[u8] = b"/var/task\0";

/// The system call, with the address of what follows the instructions: the directory.
#[cfg(target_arch = "x86_64")]
const CODE: &[u8] = &[
    0x48, 0x8d, 0x3d, 0x08, 0x00, 0x00, 0x00, // lea rdi, [rip + 8]
    0xb8, 0x50, 0x00, 0x00, 0x00, // mov eax, 80 (chdir)
    0x0f, 0x05, // syscall
    0xc3, // ret
];
/// The system call, with the address of what follows the instructions: the directory.
#[cfg(target_arch = "aarch64")]
const CODE: &[u8] = &[
    0x80, 0x00, 0x00, 0x10, // adr x0, . + 16
    0x28, 0x06, 0x80, 0xd2, // mov x8, 49 (chdir)
    0x01, 0x00, 0x00, 0xd4, // svc 0
    0xc0, 0x03, 0x5f, 0xd6, // ret
];
#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

const SYMBOLS: usize = 0x120;
const HASHES: usize = 0x150;
const STRINGS: usize = 0x168;
const STRINGS_LENGTH: usize = 1 + SYMBOL.len() + 1;
const TEXT: usize = 0x1c0;
const DYNAMIC: usize = 0x200;
const DYNAMIC_LENGTH: usize = 6 * 16;
const LENGTH: usize = DYNAMIC + DYNAMIC_LENGTH;
/// What the loader writes into is on a page of its own in memory, whatever size pages have.
const PAGE: usize = 0x10000;

/// The library, as an ELF file.
pub(super) const LIBRARY: &[u8] = &library();

/// A file that is filled from its beginning.
struct File {
    bytes: [u8; LENGTH],
    at: usize,
}

impl File {
    /// Puts a number of so many bytes, at most eight, the least significant first.
    const fn number(&mut self, value: usize, length: usize) {
        let mut index = 0;
        while index < length {
            self.bytes[self.at] = value.to_le_bytes()[index];
            self.at += 1;
            index += 1;
        }
    }

    const fn numbers(&mut self, values: &[usize], length: usize) {
        let mut index = 0;
        while index < values.len() {
            self.number(values[index], length);
            index += 1;
        }
    }

    const fn text(&mut self, text: &[u8]) {
        let mut index = 0;
        while index < text.len() {
            self.number(text[index] as usize, 1);
            index += 1;
        }
    }

    /// A segment: its kind, its flags, where it is in the file and in memory, its length and alignment.
    const fn segment(&mut self, kind: usize, flags: usize, place: [usize; 4]) {
        let [offset, address, length, alignment] = place;
        self.numbers(&[kind, flags], 4);
        self.numbers(&[offset, address, address, length, length, alignment], 8);
    }
}

const fn library() -> [u8; LENGTH] {
    const LOAD: usize = 1;
    const DYNAMIC_SEGMENT: usize = 2;
    const STACK: usize = 0x6474_e551;
    const EXECUTE: usize = 1;
    const WRITE: usize = 2;
    const READ: usize = 4;

    let mut file = File { bytes: [0; LENGTH], at: 0 };
    // 64 bits, little endian; a shared object.
    file.text(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.numbers(&[3, MACHINE as usize], 2);
    file.number(1, 4);
    // No entry; the segments come at once; no sections.
    file.numbers(&[0, 64, 0], 8);
    file.number(0, 4);
    file.numbers(&[64, 56, 4, 64, 0, 0], 2);

    file.segment(LOAD, READ | EXECUTE, [0, 0, DYNAMIC, PAGE]);
    let dynamic = [DYNAMIC, PAGE + DYNAMIC, DYNAMIC_LENGTH];
    file.segment(LOAD, READ | WRITE, [dynamic[0], dynamic[1], dynamic[2], PAGE]);
    file.segment(DYNAMIC_SEGMENT, READ | WRITE, [dynamic[0], dynamic[1], dynamic[2], 8]);
    // Without it, the loader would make the process's stacks executable.
    file.segment(STACK, READ | WRITE, [0, 0, 0, 16]);

    // The symbols: none, then the function, global and in some section.
    file.at = SYMBOLS + 24;
    file.number(1, 4);
    file.numbers(&[0x12, 0], 1);
    file.number(1, 2);
    file.numbers(&[TEXT, CODE.len()], 8);
    // One bucket for one name.
    file.at = HASHES;
    file.numbers(&[1, 2, 1, 0, 0], 4);
    file.at = STRINGS + 1;
    file.text(SYMBOL);
    file.at = TEXT;
    file.text(CODE);
    file.text(DIRECTORY);
    file.at = DYNAMIC;
    let (hash, strings, symbols, strings_length, symbol_length) = (4, 5, 6, 10, 11);
    file.numbers(&[hash, HASHES, strings, STRINGS, symbols, SYMBOLS], 8);
    file.numbers(&[strings_length, STRINGS_LENGTH, symbol_length, 24], 8);
    file.bytes
}

// The parts do not overlap.
const _: () =
    assert!(STRINGS + STRINGS_LENGTH <= TEXT && TEXT + CODE.len() + DIRECTORY.len() <= DYNAMIC);
