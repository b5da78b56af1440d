//! The id of a portable symbol file, by which debuggers ask for it.
//!
//! Source: <https://github.com/dotnet/runtime/blob/main/docs/design/specs/PortablePdb-Metadata.md> (`#Pdb` stream) and
//! ECMA-335 II.24.2 (metadata root).

const SIGNATURE: &[u8] = b"BSJB";
/// Most streams looked at; there are six kinds.
const MAX_STREAMS: u16 = 16;

/// `{guid}ffffffff` in lower-case hex (SSQP key conventions); `None` for other kinds of symbol files.
pub fn id(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.strip_prefix(SIGNATURE)?;
    // Versions and a reserved word, then the length of a text of versions, padded to four.
    let version_bytes = u32_at(bytes, 8)? as usize;
    let mut at = 12_usize.checked_add(version_bytes)?.checked_add(2)?;
    let streams = u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?);
    at += 2;
    for _ in 0..streams.min(MAX_STREAMS) {
        let offset = u32_at(bytes, at)? as usize;
        let name = bytes.get(at + 8..)?;
        let length = name.iter().take(32).position(|b| *b == 0)?;
        if &name[..length] == b"#Pdb" {
            // Offsets count from the signature.
            let guid = bytes.get(offset.checked_sub(SIGNATURE.len())?..)?.get(..16)?;
            return Some(format!("{}ffffffff", guid_text(guid)));
        }
        at += 8 + (length / 4 + 1) * 4;
    }
    None
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The first three groups of a GUID are little-endian numbers.
fn guid_text(guid: &[u8]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    order.iter().filter_map(|at| guid.get(*at)).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A symbol file with nothing but its id.
    pub fn pdb(guid: [u8; 16]) -> Vec<u8> {
        let mut bytes = b"BSJB\x01\0\x01\0\0\0\0\0\x0c\0\0\0PDB v1.0\0\0\0\0\0\0\x02\0".to_vec();
        let header = bytes.len() + 16 + 16;
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(b"#Other\0\0");
        bytes.extend_from_slice(&(header as u32).to_le_bytes());
        bytes.extend_from_slice(&20_u32.to_le_bytes());
        bytes.extend_from_slice(b"#Pdb\0\0\0\0");
        bytes.extend_from_slice(&guid);
        bytes.extend_from_slice(&[9; 4]);
        bytes
    }

    #[test]
    fn the_id_is_the_guid_as_text() {
        let guid = [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 8, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!(id(&pdb(guid)).as_deref(), Some("001122334455667708090a0b0c0d0e0fffffffff"));
        assert_eq!(id(b"Microsoft C/C++ MSF 7.00\r\n"), None);
        for cut in 0..pdb(guid).len() - 4 {
            assert_eq!(id(&pdb(guid)[..cut]), None, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(tail in proptest::collection::vec(any::<u8>(), 0..80)) {
            id(&[SIGNATURE, &tail].concat());
        }
    }
}
