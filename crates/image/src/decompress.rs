//! Layers as they travel become tar archives: gzip, Zstandard, or neither; counted, summed and bounded.

use std::{
    io::{self, BufRead, BufReader, Read},
    sync::atomic::{AtomicBool, Ordering},
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use crate::{
    Digest, Error,
    digest::Sum,
    limits::{TAR_BYTES_MAX, ZSTD_WINDOW_BYTES_MAX},
};

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Zstandard in all its frames: builders write several, and frames to be skipped, into one layer.
struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    /// Begins the next frame. Whether there is one.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.input.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.input).take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.input, one).map_err(io::Error::other)?;
            }
            match self.decoder.read(buffer)? {
                0 => self.in_frame = false,
                read => return Ok(read),
            }
        }
    }
}

/// A layer's tar archive.
pub(crate) struct Layer<'a> {
    input: Box<dyn Read + 'a>,
    sum: Sum,
    left: u64,
    cancelled: &'a AtomicBool,
}

impl<'a> Layer<'a> {
    pub(crate) fn new(
        compressed: impl Read + 'a,
        compression: Compression,
        cancelled: &'a AtomicBool,
    ) -> Self {
        let compressed = BufReader::with_capacity(64 * 1024, compressed);
        let input: Box<dyn Read + 'a> = match compression {
            Compression::None => Box::new(compressed),
            Compression::Gzip => Box::new(MultiGzDecoder::new(compressed)),
            Compression::Zstd => {
                let mut decoder = FrameDecoder::new();
                decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
                Box::new(Zstd { input: compressed, decoder, in_frame: false })
            }
        };
        Self { input, sum: Sum::default(), left: TAR_BYTES_MAX, cancelled }
    }

    /// The sum of all that was read: OCI's `diff_id` when that was everything.
    pub(crate) fn diff_id(self) -> Digest {
        self.sum.finish()
    }
}

impl Read for Layer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other(Error::Interrupted));
        }
        let read = self.input.read(buffer)?;
        self.left =
            self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(Error::TooLarge))?;
        self.sum.add(&buffer[..read]);
        Ok(read)
    }
}
