//! The crafted archives themselves, one per way to mislead an extractor.

use super::{GNU, RawHeader, TarBuilder, USTAR, V7, gzip, tar, targz, zip};

/// An archive and what must become of it.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Refused by this rule.
    Refused(&'static str),
    /// Accepted with a note of this rule.
    Noted(&'static str),
    /// Accepted without a note: the honest twin of a refused case.
    Clean,
}

use Verdict::{Clean, Noted, Refused};

/// Every crafted case around the `files` of a valid package, which all lie under `root` (without slash).
pub fn cases(root: &str, files: &[(&str, &[u8])]) -> Vec<Case> {
    let mut all = Cases { root, files, out: Vec::new() };
    all.framing();
    all.ending();
    all.headers();
    all.extensions();
    all.types();
    all.names();
    all.roots();
    all.nested();
    all.out
}

struct Cases<'a> {
    root: &'a str,
    files: &'a [(&'a str, &'a [u8])],
    out: Vec<Case>,
}

impl Cases<'_> {
    fn raw(&mut self, name: &'static str, verdict: Verdict, bytes: Vec<u8>) {
        self.out.push(Case { name, bytes, verdict });
    }

    /// The valid package followed by whatever `more` adds.
    fn tar(&mut self, name: &'static str, verdict: Verdict, more: impl FnOnce(TarBuilder) -> TarBuilder) {
        let bytes = more(tar(self.files)).targz();
        self.raw(name, verdict, bytes);
    }

    fn at(&self, below: &str) -> String {
        format!("{}/{below}", self.root)
    }

    fn framing(&mut self) {
        let good = targz(self.files);
        let plain = tar(self.files).finish();
        self.raw("plain package", Clean, good.clone());
        self.raw("two gzip members", Refused("ARC-T1"), [good.clone(), gzip(b"x")].concat());
        let (front, back) = plain.split_at(512);
        self.raw("tar split over two members", Refused("ARC-T1"), [gzip(front), gzip(back)].concat());
        self.raw("byte after the stream", Refused("ARC-T1"), [&good[..], b"\0"].concat());
        self.raw("not gzip at all", Refused("ARC-T1"), plain.clone());
        self.raw("zip instead of gzip", Refused("ARC-P"), zip("a", b"b", 0));
        self.raw("empty file", Refused("ARC-T1"), Vec::new());
        for (name, from_end) in [("bad gzip crc", 8), ("bad gzip size", 4)] {
            let mut bytes = good.clone();
            let at = bytes.len() - from_end;
            bytes[at] ^= 1;
            self.raw(name, Refused("ARC-T1"), bytes);
        }
        self.raw("truncated trailer", Refused("ARC-T1"), good[..good.len() - 1].to_vec());
        self.raw("truncated stream", Refused("ARC-T1"), good[..good.len() / 2].to_vec());
        let mut reserved = good.clone();
        reserved[3] = 0x80;
        self.raw("reserved gzip flag", Refused("ARC-T1"), reserved);
        let named = |extra: &[u8], flag: u8| [&good[..3], &[flag], &good[4..10], extra, &good[10..]].concat();
        self.raw("gzip with a file name", Clean, named(b"a.tar\0", 8));
        self.raw("gzip with an extra field", Clean, named(b"\x04\0abcd", 4));
        self.raw(
            "gzip header without end",
            Refused("ARC-T1"),
            [&good[..3], &[8], &good[4..10], &[b'a'; 70_000]].concat(),
        );
        self.polyglots(&plain);
    }

    /// A gzip whose last deflate block is stored and contains a zip that ends the file.
    fn polyglots(&mut self, plain: &[u8]) {
        let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        let stored = |tar: &[u8]| {
            let blocks = tar.chunks(60_000).enumerate().flat_map(|(i, chunk)| {
                let is_last = u8::from((i + 1) * 60_000 >= tar.len());
                let length = (chunk.len() as u16).to_le_bytes();
                [&[is_last][..], &length, &length.map(|b| !b), chunk].concat()
            });
            let trailer = [crc32fast::hash(tar).to_le_bytes(), (tar.len() as u32).to_le_bytes()].concat();
            header.iter().copied().chain(blocks).chain(trailer).collect::<Vec<u8>>()
        };
        self.raw("stored deflate blocks", Clean, stored(plain));
        let entry = |comment: usize| {
            let path = self.at("x.bin");
            let mut zip = zip("evil", b"evil", 0);
            let at = zip.len() - 2;
            zip[at..].copy_from_slice(&(comment as u16).to_le_bytes());
            stored(&tar(self.files).file(&path, &[b"pad ", &zip[..]].concat()).finish())
        };
        let lenient = entry(0);
        let behind = lenient.len() - lenient.windows(4).rposition(|w| w == b"PK\x05\x06").unwrap_or(0) - 22;
        let exact = entry(behind);
        self.raw("zip inside gzip, found by lenient readers", Noted("ARC-P"), lenient);
        self.raw("zip inside gzip, closing the file", Refused("ARC-P"), exact);
    }

    fn ending(&mut self) {
        let body = tar(self.files).unfinished();
        let marked = |tail: &[&[u8]]| gzip(&[&body[..], &tail.concat()].concat());
        let extra = TarBuilder::new().file(&self.at("hidden"), b"x").unfinished();
        self.raw("no end marker", Noted("ARC-T2"), marked(&[]));
        self.raw("half an end marker", Noted("ARC-T2"), marked(&[&[0; 512]]));
        self.raw("many zero blocks", Clean, marked(&[&[0; 10_240]]));
        self.raw("entry after one zero block", Refused("ARC-T2"), marked(&[&[0; 512], &extra]));
        self.raw("entry after the end marker", Refused("ARC-T2"), marked(&[&[0; 1024], &extra]));
        self.raw("garbage after the end marker", Refused("ARC-T2"), marked(&[&[0; 1024], b"x"]));
        self.raw("truncated header", Refused("ARC-T2"), marked(&[&extra[..100]]));
        self.raw("truncated data", Refused("ARC-T2"), marked(&[&extra[..512]]));
        self.raw("truncated padding", Refused("ARC-T2"), marked(&[&extra[..520]]));
    }

    fn headers(&mut self) {
        let path = self.at("h");
        let header = RawHeader { name: path.as_bytes(), size: 3, ..RawHeader::default() };
        let edit = |all: &mut Self, name, verdict, edit: &dyn Fn(&mut [u8; 512])| {
            all.tar(name, verdict, |tar| tar.edited(&header, edit).data(b"abc"));
        };
        edit(self, "edited header, unchanged", Clean, &|_| {});
        edit(self, "size with spaces", Clean, &|b| b[124..136].copy_from_slice(b"         3 \0"));
        edit(self, "base-256 size", Refused("ARC-T2"), &|b| {
            b[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
        });
        edit(self, "negative size", Refused("ARC-T2"), &|b| b[124..136].copy_from_slice(b"-0000000003\0"));
        edit(self, "size with leading nul", Refused("ARC-T2"), &|b| b[124..136].copy_from_slice(b"\x000000000003\0"));
        edit(self, "size with a second number", Refused("ARC-T2"), &|b| {
            b[124..136].copy_from_slice(b"3\x0000000000\x008")
        });
        edit(self, "empty size", Refused("ARC-T2"), &|b| b[124..136].fill(0));
        edit(self, "malformed mode", Refused("ARC-T2"), &|b| b[100..108].copy_from_slice(b"000064x\0"));
        edit(self, "base-256 uid", Clean, &|b| b[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0, 0x40, 0, 0]));
        edit(self, "malformed uid", Refused("ARC-T2"), &|b| b[110] = b'x');
        edit(self, "malformed modification time", Refused("ARC-T2"), &|b| b[136] = 0xe6);
        edit(self, "malformed device number", Refused("ARC-T2"), &|b| b[330] = b'9');
        edit(self, "empty owner and time", Clean, &|b| b[108..124].fill(0));
        edit(self, "unknown magic", Refused("ARC-T2"), &|b| b[257..265].copy_from_slice(b"ustar\0\x31\x31"));
        edit(self, "gnu magic", Clean, &|b| b[257..265].copy_from_slice(&GNU));
        edit(self, "old header without magic", Clean, &|b| b[257..265].copy_from_slice(&V7));
        edit(self, "gnu times where ustar keeps the prefix", Refused("ARC-T2"), &|b| {
            b[257..265].copy_from_slice(&GNU);
            b[345..356].copy_from_slice(b"14371505364");
        });
        edit(self, "bytes behind the name", Refused("ARC-T2"), &|b| b[90..95].copy_from_slice(b"\nevil"));
        edit(self, "bytes behind the link name", Refused("ARC-T2"), &|b| b[200] = b'x');
        let mut block = header.block();
        block[148..156].copy_from_slice(b"0000001\0");
        self.tar("bad checksum", Refused("ARC-T2"), |tar| tar.raw(&block).data(b"abc"));
        let prefix = self.root.as_bytes().to_vec();
        let with_prefix = |magic| RawHeader { name: b"deep/x", prefix: &prefix, magic, ..RawHeader::default() };
        self.tar("ustar prefix", Clean, |tar| tar.header(&with_prefix(USTAR)));
        self.tar("prefix without ustar magic", Refused("ARC-T2"), |tar| tar.header(&with_prefix(V7)));
    }

    fn extensions(&mut self) {
        let (a, b) = (self.at("a1"), self.at("b1"));
        let long = self.at(&"d/".repeat(60)) + "f";
        let pax = |records: &[(&str, &[u8])], kind: u8, file: &str| {
            TarBuilder::new().pax(kind, records).file(file, b"12345").unfinished()
        };
        let add = |all: &mut Self, name, verdict, bytes: Vec<u8>| all.tar(name, verdict, |tar| tar.raw(&bytes));
        add(self, "pax path", Clean, pax(&[("path", long.as_bytes())], b'x', "short"));
        add(self, "pax size equal to the header's", Clean, pax(&[("size", b"5")], b'x', &a));
        add(self, "pax size other than the header's", Refused("ARC-T2"), pax(&[("size", b"4")], b'x', &a));
        add(self, "pax size zero hides data", Refused("ARC-T2"), pax(&[("size", b"0")], b'x', &a));
        add(self, "two pax sizes", Refused("ARC-T2"), pax(&[("size", b"5"), ("size", b"0")], b'x', &a));
        add(self, "two pax paths", Refused("ARC-T2"), pax(&[("path", a.as_bytes()), ("path", b.as_bytes())], b'x', &a));
        add(self, "unknown pax keys", Clean, pax(&[("mtime", b"1.5"), ("comment", b"hello")], b'x', &a));
        add(self, "pax sparse map", Refused("ARC-T2"), pax(&[("GNU.sparse.major", b"1")], b'x', &a));
        let hiding = format!("x\n{} path={b}\n", b.len() + 9);
        add(self, "pax value hiding a record", Refused("ARC-T2"), pax(&[("comment", hiding.as_bytes())], b'x', &a));
        add(self, "pax value with a harmless line feed", Clean, pax(&[("SCHILY.xattr.a", b"x\ny")], b'x', &a));
        add(self, "pax path with nul", Refused("ARC-Z3"), pax(&[("path", b"a\0b")], b'x', &a));
        add(self, "empty pax path", Refused("ARC-T2"), pax(&[("path", b"")], b'x', &a));
        add(self, "global pax comment", Clean, pax(&[("comment", b"0123456789abcdef")], b'g', &a));
        let last = TarBuilder::new().file(&a, b"").pax(b'g', &[("comment", b"x")]).unfinished();
        add(self, "global pax header at the end", Refused("ARC-T2"), last);
        add(self, "global pax path", Refused("ARC-T2"), pax(&[("path", b.as_bytes())], b'g', &a));
        let malformed = TarBuilder::new().extension(b'x', b"99 path=a\n").file(&a, b"").unfinished();
        add(self, "malformed pax record", Refused("ARC-T2"), malformed);
        let twice = TarBuilder::new().pax(b'x', &[("uid", b"1")]).pax(b'x', &[("gid", b"1")]).file(&a, b"");
        add(self, "two pax headers for one entry", Refused("ARC-T2"), twice.unfinished());
        let name = [long.as_bytes(), b"\0"].concat();
        let gnu = || TarBuilder::new().extension(b'L', &name);
        add(self, "gnu long name", Clean, gnu().file("short", b"x").unfinished());
        add(self, "two gnu long names", Refused("ARC-T2"), gnu().extension(b'L', &name).file("s", b"").unfinished());
        let both = gnu().pax(b'x', &[("path", a.as_bytes())]).file("short", b"");
        add(self, "gnu long name and pax path", Refused("ARC-T2"), both.unfinished());
        let hidden = TarBuilder::new().extension(b'L', &[&name[..], b"\n/evil"].concat()).file("s", b"");
        add(self, "bytes behind a gnu long name", Refused("ARC-T2"), hidden.unfinished());
        add(
            self,
            "gnu long link without a link",
            Refused("ARC-T2"),
            TarBuilder::new().extension(b'K', b"x\0").file(&a, b"").unfinished(),
        );
        add(self, "extension without an entry", Refused("ARC-T2"), gnu().unfinished());
        let huge = vec![b'a'; 300 << 10];
        add(self, "huge pax header", Refused("ARC-B1"), pax(&[("comment", &huge)], b'x', &a));
        add(
            self,
            "huge gnu long name",
            Refused("ARC-B1"),
            TarBuilder::new().extension(b'L', &huge[..5000]).file(&a, b"").unfinished(),
        );
    }

    fn types(&mut self) {
        let path = self.at("t");
        for (name, kind, rule) in [
            ("hard link", b'1', "ARC-L"),
            ("symlink", b'2', "ARC-L"),
            ("character device", b'3', "ARC-T2"),
            ("block device", b'4', "ARC-T2"),
            ("fifo", b'6', "ARC-T2"),
            ("contiguous file", b'7', "ARC-T2"),
            ("gnu sparse file", b'S', "ARC-T2"),
            ("multi-volume continuation", b'M', "ARC-T2"),
            ("volume label", b'V', "ARC-T2"),
            ("dump directory", b'D', "ARC-T2"),
            ("solaris extended header", b'X', "ARC-T2"),
            ("unknown type", b'Q', "ARC-T2"),
        ] {
            self.tar(name, Refused(rule), |tar| tar.special(kind, &path, "target"));
        }
        let symlink = TarBuilder::new().special(b'2', &path, "../../../etc").file(&format!("{path}/passwd"), b"x");
        self.tar("file through a symlink", Refused("ARC-L"), |tar| tar.raw(&symlink.unfinished()));
        self.tar("directory", Clean, |tar| tar.directory(&format!("{path}/")));
        self.tar("nul type is a regular file", Clean, |tar| tar.special(0, &path, ""));
        self.tar("file with trailing slash", Refused("ARC-T2"), |tar| tar.file(&format!("{path}/"), b"x"));
        let sized = RawHeader { name: path.as_bytes(), kind: b'5', size: 512, ..RawHeader::default() };
        let hidden = TarBuilder::new().file("evil", b"").unfinished();
        self.tar("directory with a size", Refused("ARC-T2"), |tar| tar.header(&sized).raw(&hidden));
        let setuid = RawHeader { name: path.as_bytes(), mode: 0o4755, ..RawHeader::default() };
        self.tar("setuid file", Noted("ARC-L"), |tar| tar.header(&setuid));
        let executable = RawHeader { mode: 0o755, ..setuid.clone() };
        self.tar("executable file", Clean, |tar| tar.header(&executable));
    }

    fn names(&mut self) {
        let long = "n".repeat(256);
        let deep = "d/".repeat(70);
        for (name, below, verdict) in [
            ("parent component", "../x", Refused("ARC-Z3")),
            ("parent component at the end", "a/..", Refused("ARC-Z3")),
            ("two dots inside a name", "a..b", Clean),
            ("current directory component", "./x", Refused("ARC-Z3")),
            ("empty component", "/x", Refused("ARC-Z3")),
            ("backslash", "a\\b", Refused("ARC-Z3")),
            ("control character", "a\x01b", Refused("ARC-Z3")),
            ("delete character", "a\x7fb", Refused("ARC-Z3")),
            ("drive letter behind the root", "C:/x", Refused("ARC-Z3")),
            ("component of 256 bytes", &long, Refused("ARC-Z3")),
            ("component of 255 bytes", &long[1..], Clean),
            ("seventy levels deep", &deep, Refused("ARC-B1")),
            ("windows device name", "aux.txt", Noted("ARC-Z3")),
            ("name that starts like a device", "auxiliary", Clean),
            ("non-ascii name", "é/日本", Clean),
        ] {
            let path = self.at(below);
            let pax = TarBuilder::new().pax(b'x', &[("path", path.as_bytes())]);
            let entry = if path.ends_with('/') { pax.directory("short") } else { pax.file("short", b"x") };
            self.tar(name, verdict, |tar| tar.raw(&entry.unfinished()));
        }
        let latin1 = [self.root.as_bytes(), b"/\xe9"].concat();
        self.tar("name that is not utf-8", Refused("ARC-Z3"), |tar| {
            tar.header(&RawHeader { name: &latin1, ..RawHeader::default() })
        });
        let (one, other, below) = (self.at("same"), self.at("SAME"), self.at("same/below"));
        self.tar("duplicate file", Refused("ARC-Z3"), |tar| tar.file(&one, b"1").file(&one, b"2"));
        self.tar("duplicate in case only", Noted("ARC-Z3"), |tar| tar.file(&one, b"1").file(&other, b"2"));
        self.tar("repeated directory", Clean, |tar| tar.directory(&one).directory(&format!("{one}/")));
        self.tar("file used as a directory", Refused("ARC-Z3"), |tar| tar.file(&one, b"1").file(&below, b"2"));
        self.tar("directory used as a file", Refused("ARC-Z3"), |tar| tar.file(&below, b"1").file(&one, b"2"));
        let (composed, decomposed) = (self.at("\u{e9}"), self.at("e\u{301}"));
        self.tar("duplicate after composition", Refused("ARC-Z3"), |tar| {
            tar.file(&composed, b"1").file(&decomposed, b"2")
        });
    }

    fn roots(&mut self) {
        self.tar("second top directory", Refused("ARC-T3"), |tar| tar.file("zz-other/x", b""));
        self.tar("file beside the top directory", Refused("ARC-T3"), |tar| tar.file("zz-other", b""));
        self.tar("absolute path", Refused("ARC-Z3"), |tar| tar.file("/etc/passwd", b""));
        self.tar("parent path at the top", Refused("ARC-Z3"), |tar| tar.file("../x", b""));
        let longer = format!("{}x/y", self.root);
        self.tar("root that only starts alike", Refused("ARC-T3"), |tar| tar.file(&longer, b""));
        let root = format!("{}/", self.root);
        self.tar("entry for the root itself", Clean, |tar| tar.directory(&root));
    }

    fn nested(&mut self) {
        let inner = tar(&[("a/b", b"text")]);
        let path = self.at("inner.bin");
        let add = |all: &mut Self, name, verdict, bytes: Vec<u8>| all.tar(name, verdict, |tar| tar.file(&path, &bytes));
        add(self, "nested tar.gz", Clean, inner.clone().targz());
        add(self, "nested tar", Clean, inner.clone().finish());
        add(self, "nested gzip of a text", Clean, gzip(b"hello"));
        let bad = inner.clone().special(b'2', "l", "/etc/passwd");
        add(self, "nested archive with a symlink", Noted("ARC-N"), bad.targz());
        add(self, "nested zip", Clean, zip("a", b"b", 0));
        add(self, "nested zip with a bad path", Noted("ARC-N"), zip("../a", b"b", 0));
        add(self, "nested xz", Noted("ARC-N"), b"\xfd7zXZ\0 and more".to_vec());
        let wrap = |bytes: &[u8]| targz(&[("in/x.tgz", bytes)]);
        let once = wrap(&inner.targz());
        add(self, "archive in an archive in the archive", Clean, once.clone());
        add(self, "three levels of archives", Noted("ARC-N"), wrap(&once));
    }
}
