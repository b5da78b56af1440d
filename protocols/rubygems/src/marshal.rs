//! Ruby's Marshal format 4.8, as far as the legacy index needs it (rubygems.md §5). Writing only.

/// Grows a stream; a fresh one starts with the version.
#[derive(Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    pub fn begin() -> Self {
        Self(vec![4, 8])
    }
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn int(&mut self, n: usize) {
        match n {
            0 => self.0.push(0),
            1..=122 => self.0.push(n as u8 + 5),
            _ => {
                let bytes = (n as u64).to_le_bytes();
                let length = 8 - (n as u64).leading_zeros() as usize / 8;
                self.0.push(length as u8);
                self.0.extend_from_slice(&bytes[..length]);
            }
        }
    }
    fn raw(&mut self, bytes: &[u8]) {
        self.int(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub fn nil(&mut self) {
        self.0.push(b'0');
    }
    pub fn bool(&mut self, value: bool) {
        self.0.push(if value { b'T' } else { b'F' });
    }
    pub fn integer(&mut self, n: usize) {
        self.0.push(b'i');
        self.int(n);
    }
    /// Written in full each time: links are an option of the format, not a duty.
    pub fn symbol(&mut self, name: &str) {
        self.0.push(b':');
        self.raw(name.as_bytes());
    }
    /// A UTF-8 string.
    pub fn string(&mut self, text: &str) {
        self.0.extend_from_slice(b"I\"");
        self.raw(text.as_bytes());
        self.int(1);
        self.symbol("E");
        self.bool(true);
    }
    pub fn optional(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None => self.nil(),
        }
    }
    /// The caller writes that many items next.
    pub fn array(&mut self, items: usize) {
        self.0.push(b'[');
        self.int(items);
    }
    pub fn strings(&mut self, items: &[String]) {
        self.array(items.len());
        items.iter().for_each(|item| self.string(item));
    }
    /// The caller writes that many keys, each followed by its value.
    pub fn hash(&mut self, pairs: usize) {
        self.0.push(b'{');
        self.int(pairs);
    }
    /// An object with `marshal_dump`; the caller writes what that returned.
    pub fn user_marshal(&mut self, class: &str) {
        self.0.push(b'U');
        self.symbol(class);
    }
    /// An object with `_dump`.
    pub fn user_defined(&mut self, class: &str, bytes: &[u8]) {
        self.0.push(b'u');
        self.symbol(class);
        self.raw(bytes);
    }
    /// A plain object; the caller writes that many names and values.
    pub fn object(&mut self, class: &str, variables: usize) {
        self.0.push(b'o');
        self.symbol(class);
        self.int(variables);
    }

    pub fn version(&mut self, number: &str) {
        self.user_marshal("Gem::Version");
        self.array(1);
        self.string(number);
    }
    /// Midnight UTC of a day. Years before 1900 do not fit.
    pub fn day(&mut self, year: u32, month: u32, day: u32) {
        let date = 0xC000_0000 | (year.saturating_sub(1900) & 0xffff) << 14 | (month - 1) << 10 | day << 5;
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&date.to_le_bytes());
        self.0.push(b'I');
        self.user_defined("Time", &bytes);
        self.int(1);
        self.symbol("zone");
        self.0.extend_from_slice(b"I\"");
        self.raw(b"UTC");
        self.int(1);
        self.symbol("E");
        self.bool(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::begin();
        write(&mut writer);
        writer.finish()[2..].to_vec()
    }

    /// What `ruby -e 'p Marshal.dump(x)'` prints.
    #[test]
    fn bytes_are_those_of_ruby() {
        assert_eq!(Writer::begin().finish(), [4, 8]);
        assert_eq!(written(|w| w.string("a")), b"I\"\x06a\x06:\x06ET");
        assert_eq!(written(|w| w.array(0)), b"[\0");
        assert_eq!(written(|w| w.version("1.0")), b"U:\x11Gem::Version[\x06I\"\x081.0\x06:\x06ET");
        for (n, bytes) in [
            (0, &b"i\0"[..]),
            (1, b"i\x06"),
            (122, b"i\x7f"),
            (123, b"i\x01\x7b"),
            (255, b"i\x01\xff"),
            (256, b"i\x02\0\x01"),
            (65536, b"i\x03\0\0\x01"),
        ] {
            assert_eq!(written(|w| w.integer(n)), bytes, "{n}");
        }
    }
}
