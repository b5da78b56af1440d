//! Crafted zips, one per way to mislead a reader (scanning.md §3a Z1–Z6), with their honest twins.

use super::{
    Case, RawZipEntry, TarBuilder, Verdict,
    Verdict::{Clean, Noted, Refused},
    ZipBuilder, gzip, targz,
};

/// Every crafted case around the `files` of a valid package.
pub fn zip_cases(files: &[(&str, &[u8])]) -> Vec<Case> {
    let mut all = Cases { files, out: Vec::new() };
    all.framing();
    all.agreement();
    all.zip64();
    all.names();
    all.extras();
    all.methods();
    all.types();
    all.nested();
    all.out
}

struct Cases<'a> {
    files: &'a [(&'a str, &'a [u8])],
    out: Vec<Case>,
}

/// Offsets into a local and a central record.
const LOCAL: [usize; 6] = [6, 8, 14, 18, 22, 30];
const CENTRAL: [usize; 6] = [8, 10, 16, 20, 24, 46];

impl Cases<'_> {
    fn raw(&mut self, name: &'static str, verdict: Verdict, bytes: Vec<u8>) {
        self.out.push(Case { name, bytes, verdict });
    }

    fn good(&self) -> ZipBuilder {
        self.files.iter().fold(ZipBuilder::new(), |zip, (path, data)| zip.file(path, data))
    }

    /// The valid package followed by whatever `more` adds.
    fn zip(&mut self, name: &'static str, verdict: Verdict, more: impl FnOnce(ZipBuilder) -> ZipBuilder) {
        let bytes = more(self.good()).finish();
        self.raw(name, verdict, bytes);
    }

    fn entry(&mut self, name: &'static str, verdict: Verdict, entry: &RawZipEntry<'_>) {
        self.zip(name, verdict, |zip| zip.entry(entry));
    }

    fn framing(&mut self) {
        let good = self.good().finish();
        let files = self.files;
        self.raw("plain package", Clean, good.clone());
        self.raw("stored package", Clean, files.iter().fold(ZipBuilder::new(), |z, (p, d)| z.stored(p, d)).finish());
        self.raw("zip with a directory", Clean, self.good().directory("d/").finish());
        self.raw("bytes before the zip", Refused("ARC-Z1"), [b"#!/bin/sh\n", &good[..]].concat());
        let shifted = ZipBuilder::behind(4).stored("a", b"a").finish();
        self.raw("bytes before the zip, offsets right", Refused("ARC-Z1"), [b"#!x\n", &shifted[..]].concat());
        self.raw("byte after the zip", Refused("ARC-Z1"), [&good[..], b"\0"].concat());
        self.raw("two zips in a row", Refused("ARC-Z1"), [good.clone(), good.clone()].concat());
        let commented = |comment: &[u8]| {
            self.good().finish_edited(|end| {
                end[20..22].copy_from_slice(&(comment.len() as u16).to_le_bytes());
                end.extend(comment);
            })
        };
        let (plain, hiding) = (commented(b"made by hand"), commented(b"PK\x05\x06"));
        self.raw("zip with a comment", Clean, plain.clone());
        self.raw("end record in the comment", Refused("ARC-Z1"), hiding);
        self.raw("comment shorter than it says", Refused("ARC-Z1"), plain[..plain.len() - 1].to_vec());
        for (name, at) in [
            ("wrong disk", 4),
            ("wrong disk of the directory", 6),
            ("wrong count on this disk", 8),
            ("wrong count", 10),
            ("wrong directory size", 12),
            ("wrong directory offset", 16),
        ] {
            let bytes = self.good().finish_edited(|end| end[at] ^= 1);
            self.raw(name, Refused("ARC-Z1"), bytes);
        }
        for cut in [1, 10, 22, 30, good.len() / 2] {
            self.raw("truncated", Refused("ARC-Z1"), good[..good.len() - cut].to_vec());
        }
        self.raw("bytes between entries", Refused("ARC-Z1"), self.good().raw(b"hidden").stored("z", b"").finish());
        self.raw("bytes before the directory", Refused("ARC-Z1"), self.good().raw(b"PK\x06\x08\0\0\0\0").finish());
        self.raw("gzip instead of zip", Refused("ARC-P"), targz(files));
        self.raw("tar instead of zip", Refused("ARC-P"), TarBuilder::new().file("a", b"b").finish());
        self.raw("not a zip at all", Refused("ARC-Z1"), b"hello".to_vec());
        self.raw("no bytes at all", Refused("ARC-Z1"), Vec::new());
        self.polyglot();
    }

    /// A zip whose first block is a tar header, too: the local header is the name of a tar entry.
    fn polyglot(&mut self) {
        let mut block = [0_u8; 512];
        let local = ZipBuilder::new().entry(&RawZipEntry { name: b"t", ..RawZipEntry::default() }).unlisted().finish();
        block[..31].copy_from_slice(&local[..31]);
        // The extra field of the first entry takes up the rest of the block.
        block[28..30].copy_from_slice(&481_u16.to_le_bytes());
        block[31..35].copy_from_slice(&[0xfe, 0xca, 0xdd, 0x01]);
        super::seal(&mut block);
        let extra = block[31..].to_vec();
        let entry = RawZipEntry { name: b"t", local_extra: &extra, ..RawZipEntry::default() };
        self.raw("zip and tar at once", Refused("ARC-P"), ZipBuilder::new().entry(&entry).finish());
    }

    fn agreement(&mut self) {
        let entry = RawZipEntry { name: b"z.txt", data: b"data", is_deflated: true, ..RawZipEntry::default() };
        let fields = ["flags", "method", "checksum", "packed size", "unpacked size", "name"];
        for (i, field) in fields.iter().enumerate() {
            let central = self.good().edited(&entry, |_| {}, |bytes| bytes[CENTRAL[i]] ^= 2).finish();
            let name: &'static str = match *field {
                "flags" => "directory says other flags",
                "method" => "directory says another method",
                "checksum" => "directory says another checksum",
                "packed size" => "directory says another packed size",
                "unpacked size" => "directory says another size",
                _ => "directory says another name",
            };
            self.raw(name, Refused("ARC-Z2"), central);
        }
        for (name, field) in [("wrong checksum", 2), ("wrong unpacked size", 4)] {
            let both = self.good().edited(&entry, |b| b[LOCAL[field]] ^= 1, |b| b[CENTRAL[field]] ^= 1).finish();
            self.raw(name, Refused("ARC-Z2"), both);
        }
        let bomb = self.good().edited(&entry, |b| b[LOCAL[3]] -= 2, |b| b[CENTRAL[3]] -= 2).finish();
        self.raw("packed size cuts the data", Refused("ARC-Z2"), bomb);
        self.zip("entry missing from the directory", Refused("ARC-Z2"), |zip| zip.unlisted().stored("z", b""));
        let twice = self.good().edited(&entry, |_| {}, |bytes| *bytes = [bytes.clone(), bytes.clone()].concat());
        self.raw("entry listed twice", Refused("ARC-Z2"), twice.finish());
        let astray = self.good().edited(&entry, |_| {}, |bytes| bytes[42] ^= 1).finish();
        self.raw("directory points elsewhere", Refused("ARC-Z2"), astray);
        self.zip("volume number of an entry", Refused("ARC-Z1"), |zip| zip.edited(&entry, |_| {}, |b| b[34] = 1));
    }

    fn zip64(&mut self) {
        let entry =
            RawZipEntry { name: b"z", data: b"data", is_deflated: true, is_zip64: true, ..RawZipEntry::default() };
        self.entry("zip64 sizes before the data", Clean, &entry);
        let described = RawZipEntry { has_descriptor: true, ..entry.clone() };
        self.entry("zip64 sizes behind the data", Clean, &described);
        let bytes = self.good().finish_zip64();
        self.raw("zip64 end record", Clean, bytes.clone());
        let at = bytes.len() - 22 - 20 - 56;
        for (name, from) in [
            ("zip64 end record of another size", 4),
            ("zip64 count", 32),
            ("zip64 directory size", 40),
            ("zip64 directory offset", 48),
            ("zip64 locator offset", 56 + 8),
        ] {
            let mut bytes = bytes.clone();
            bytes[at + from] ^= 1;
            self.raw(name, Refused("ARC-Z1"), bytes);
        }
        let no_locator = [&bytes[..at + 56], &bytes[at + 76..]].concat();
        self.raw("zip64 record without locator", Refused("ARC-Z1"), no_locator);
        let full = self.good().finish_edited(|end| end[8..20].fill(0xff));
        self.raw("zip64 record missing", Refused("ARC-Z1"), full);
        let plain = RawZipEntry { is_zip64: false, ..entry.clone() };
        let bare = |b: &mut Vec<u8>| b[18..22].fill(0xff);
        self.zip("zip64 field missing", Refused("ARC-Z4"), |zip| zip.edited(&plain, bare, |_| {}));
        let central = |b: &mut Vec<u8>| b[20..24].fill(0xff);
        self.zip("zip64 field of the directory missing", Refused("ARC-Z4"), |zip| zip.edited(&plain, |_| {}, central));
        let unneeded = [&[1, 0, 8, 0][..], &4_u64.to_le_bytes()].concat();
        let entry = RawZipEntry { central_extra: &unneeded, ..plain };
        self.entry("zip64 field of the directory without need", Refused("ARC-Z4"), &entry);
    }

    fn names(&mut self) {
        for (name, path) in [
            ("absolute path", &b"/etc/evil"[..]),
            ("path that climbs out", b"a/../../evil"),
            ("path of dots", b"./a"),
            ("backslash", b"a\\b"),
            ("drive letter", b"C:/a"),
            ("empty component", b"a//b"),
            ("control character", b"a\x01b"),
            ("nul", b"a\0b"),
            ("not utf-8", b"a\xff"),
            ("utf-8 without its flag", "é".as_bytes()),
            ("empty name", b""),
        ] {
            self.entry(name, Refused("ARC-Z3"), &RawZipEntry { name: path, ..RawZipEntry::default() });
        }
        let long = "a/".repeat(600);
        self.entry("long path", Refused("ARC-Z3"), &RawZipEntry { name: long.as_bytes(), ..RawZipEntry::default() });
        let huge = "a".repeat(5000);
        self.entry("huge name", Refused("ARC-Z3"), &RawZipEntry { name: huge.as_bytes(), ..RawZipEntry::default() });
        let umlaut = RawZipEntry { name: "é".as_bytes(), flags: 1 << 11, ..RawZipEntry::default() };
        self.entry("utf-8 with its flag", Clean, &umlaut);
        let (composed, apart) = ("p/é".as_bytes(), "p/e\u{301}".as_bytes());
        let named = |name| RawZipEntry { name, flags: 1 << 11, ..RawZipEntry::default() };
        self.zip("names equal after composition", Refused("ARC-Z3"), |z| {
            z.entry(&named(composed)).entry(&named(apart))
        });
        self.zip("the same name twice", Refused("ARC-Z3"), |z| z.stored("z", b"1").stored("z", b"2"));
        self.zip("a file and a directory", Refused("ARC-Z3"), |z| z.stored("z", b"1").stored("z/a", b"2"));
        self.zip("names that differ in case", Noted("ARC-Z3"), |z| z.stored("z", b"1").stored("Z", b"2"));
        self.zip("name that Windows cannot hold", Noted("ARC-Z3"), |z| z.stored("nul.txt", b"1"));
        let sized = RawZipEntry { name: b"d/", data: b"x", external: 0, ..RawZipEntry::default() };
        self.entry("directory with data", Refused("ARC-Z2"), &sized);
        let empty = RawZipEntry { name: b"d/", is_deflated: true, external: 0, ..RawZipEntry::default() };
        self.entry("deflated directory", Clean, &empty);
    }

    fn extras(&mut self) {
        let field = |id: u16, body: &[u8]| [&id.to_le_bytes()[..], &(body.len() as u16).to_le_bytes(), body].concat();
        let unicode =
            |name: &[u8], of: &[u8]| field(0x7075, &[&[1][..], &crc32fast::hash(of).to_le_bytes(), name].concat());
        let time = field(0x5455, &[1, 0, 0, 0, 0]);
        let right = unicode(b"z", b"z");
        for (name, verdict, extra) in [
            ("time field", Clean, time.clone()),
            ("zipalign padding", Clean, vec![0; 3]),
            ("unicode path that says the same", Clean, right.clone()),
            ("unicode path that says otherwise", Refused("ARC-Z4"), unicode(b"evil", b"z")),
            ("unicode path of another name", Refused("ARC-Z4"), unicode(b"z", b"y")),
            ("two unicode paths", Refused("ARC-Z4"), [right.clone(), right.clone()].concat()),
            ("extra field cut short", Refused("ARC-Z4"), time[..7].to_vec()),
            ("extra field without its length", Refused("ARC-Z4"), vec![0x55, 0x54]),
        ] {
            let entry = RawZipEntry { name: b"z", ..RawZipEntry::default() };
            self.entry(name, verdict, &RawZipEntry { local_extra: &extra, ..entry.clone() });
            self.entry(name, verdict, &RawZipEntry { central_extra: &extra, ..entry });
        }
        let sizes = field(1, &[0; 16]);
        let twice = [sizes.clone(), sizes].concat();
        let entry = RawZipEntry { name: b"z", local_extra: &twice, ..RawZipEntry::default() };
        self.entry("two zip64 fields", Refused("ARC-Z4"), &entry);
        let other = field(1, &[1; 16]);
        let entry = RawZipEntry { name: b"z", local_extra: &other, ..RawZipEntry::default() };
        self.entry("zip64 field that contradicts the header", Refused("ARC-Z4"), &entry);
    }

    fn methods(&mut self) {
        let entry = RawZipEntry { name: b"z", data: b"data", is_deflated: true, ..RawZipEntry::default() };
        for (name, flags) in [("encrypted", 1_u16), ("strongly encrypted", 1 << 6), ("masked headers", 1 << 13)] {
            self.entry(name, Refused("ARC-Z5"), &RawZipEntry { flags, ..entry.clone() });
        }
        self.entry("patch data", Refused("ARC-Z5"), &RawZipEntry { flags: 1 << 5, ..entry.clone() });
        self.entry("compression hints", Clean, &RawZipEntry { flags: 0b110, ..entry.clone() });
        let method = |m: u8| move |at: usize| move |b: &mut Vec<u8>| b[at] = m;
        for (name, m) in [("bzip2", 12), ("lzma", 14), ("deflate64", 9)] {
            let edit = method(m);
            self.zip(name, Refused("ARC-Z5"), |zip| zip.edited(&entry, edit(LOCAL[1]), edit(CENTRAL[1])));
        }
        let described = RawZipEntry { has_descriptor: true, ..entry.clone() };
        self.entry("sizes behind the data", Clean, &described);
        let stored = RawZipEntry { is_deflated: false, ..described.clone() };
        self.entry("sizes behind stored data", Refused("ARC-Z5"), &stored);
        let bare = self.good().entry(&described).unlisted().finish();
        let at = bare.windows(4).rposition(|w| w == b"PK\x07\x08").expect("a descriptor was written");
        let mut wrong = self.good().entry(&described).finish();
        wrong[at + 4] ^= 1;
        self.raw("wrong descriptor", Refused("ARC-Z2"), wrong);
        let mut unsigned = self.good().entry(&described).finish();
        unsigned[at] = b'Q';
        self.raw("descriptor without signature", Refused("ARC-Z5"), unsigned);
        self.zip("header that contradicts its descriptor", Refused("ARC-Z2"), |zip| {
            zip.edited(&described, |b| b[LOCAL[4]] = 99, |_| {})
        });
    }

    fn types(&mut self) {
        let mode = |mode: u32| RawZipEntry { name: b"z", data: b"x", external: mode << 16, ..RawZipEntry::default() };
        self.entry("no mode at all", Clean, &mode(0));
        self.entry("executable", Clean, &mode(0o100755));
        self.entry("mode without a type", Clean, &mode(0o644));
        for (name, bits) in
            [("symlink", 0o120777), ("device", 0o060644), ("fifo", 0o010644), ("directory by mode only", 0o040755)]
        {
            self.entry(name, Refused("ARC-Z6"), &mode(bits));
        }
        let directory = RawZipEntry { name: b"d/", external: 0o100644 << 16, ..RawZipEntry::default() };
        self.entry("file by mode only", Refused("ARC-Z6"), &directory);
        self.entry("setuid", Noted("ARC-L"), &mode(0o104755));
    }

    fn nested(&mut self) {
        let inner = ZipBuilder::new().file("in/a", b"a").finish();
        let bad = ZipBuilder::new().stored("../a", b"a").finish();
        self.zip("nested zip", Clean, |zip| zip.stored("n.zip", &inner));
        self.zip("nested tar.gz", Clean, |zip| zip.stored("n.tgz", &targz(&[("in/a", b"a")])));
        self.zip("nested gzip of a text", Clean, |zip| zip.stored("n.gz", &gzip(b"hello")));
        self.zip("nested zip with a bad path", Noted("ARC-N"), |zip| zip.stored("n.zip", &bad));
        let twice = ZipBuilder::new().stored("m.zip", &ZipBuilder::new().stored("l.zip", &inner).finish()).finish();
        self.zip("three levels of zips", Noted("ARC-N"), |zip| zip.stored("n.zip", &twice));
        self.zip("nested 7z", Noted("ARC-N"), |zip| zip.stored("n.7z", b"7z\xbc\xaf\x27\x1c rest"));
    }
}
