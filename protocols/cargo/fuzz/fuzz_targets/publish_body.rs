//! The framing of a publish body, in pieces of any size: no panic, and the two frames are the bytes
//! between the lengths, whatever the pieces were.
#![no_main]

use bytes::Bytes;
use futures::{StreamExt, executor::block_on, stream};
use libfuzzer_sys::fuzz_target;
use publaryn_cargo::frame::PublishBody;

const LIMIT_BYTES: u64 = 4096;

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (piece, is_declared, body) = input;
    let pieces: Vec<_> = body.chunks(usize::from(piece).max(1)).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let length = is_declared.then_some(body.len() as u64);
    let Ok(framed) = block_on(PublishBody::read(stream::iter(pieces), length, LIMIT_BYTES)) else { return };
    let json = framed.json().to_vec();
    let (archive, fault) = framed.into_archive();
    let chunks: Vec<_> = block_on(archive.collect());
    let mut read = Vec::new();
    for chunk in chunks {
        let Ok(chunk) = chunk else {
            assert!(fault.get().is_some(), "a failed archive leaves its fault");
            return;
        };
        read.extend_from_slice(&chunk);
    }
    let mut wanted = (json.len() as u32).to_le_bytes().to_vec();
    wanted.extend_from_slice(&json);
    wanted.extend_from_slice(&(read.len() as u32).to_le_bytes());
    wanted.extend_from_slice(&read);
    assert_eq!(wanted, body);
});
