//! Merging flags, environment, file and defaults, and remembering where each value came from.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsString,
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use crate::{
    fault::{ConfigFaults, ENV_PREFIX, Fault},
    log_filter::LogFilter,
    settings::Settings,
    table::{DefaultValue, Key, Section},
    value::{Raw, Refusal, Setting},
};

/// Everything a configuration is read from. Nothing else is looked at, so tests can give it all.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The TOML file to read; it must exist. See [`Sources::find_file`].
    pub file: Option<PathBuf>,
    /// The environment; only `PUBLARYN__*` and `RUST_LOG` are looked at.
    pub env: BTreeMap<String, String>,
    /// Variables whose value is not UTF-8.
    pub unreadable_env: Vec<String>,
    pub flags: Vec<FlagValue>,
    pub machine: Machine,
}

/// A setting given on the command line.
#[derive(Debug, Clone)]
pub struct FlagValue {
    /// As typed, for example `--listen`.
    pub flag: &'static str,
    /// The setting it stands for.
    pub key: &'static str,
    pub value: String,
}

/// Facts about the machine that some defaults depend on.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    pub cpus: usize,
    pub stderr_is_terminal: bool,
}

impl Default for Machine {
    fn default() -> Self {
        Self { cpus: 4, stderr_is_terminal: false }
    }
}

impl Machine {
    pub fn this() -> Self {
        use std::io::IsTerminal;
        let cpus = std::thread::available_parallelism().map_or(4, usize::from);
        Self { cpus, stderr_is_terminal: std::io::stderr().is_terminal() }
    }
}

/// Where a configuration file is looked for when none is named.
pub const DEFAULT_FILES: &[&str] = &["./publaryn.toml", "/etc/publaryn/publaryn.toml"];

impl Sources {
    /// Takes over the variables this crate cares about.
    pub fn with_env(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|n| n.starts_with(ENV_PREFIX) || *n == "RUST_LOG") else { continue };
            match value.into_string() {
                Ok(value) => drop(self.env.insert(name.to_owned(), value)),
                Err(_) => self.unreadable_env.push(name.to_owned()),
            }
        }
        self
    }

    /// The file to read: the one that was named (`--config`, `PUBLARYN_CONFIG`), else the first of
    /// [`DEFAULT_FILES`] that exists.
    pub fn find_file(named: Option<PathBuf>) -> Option<PathBuf> {
        named.or_else(|| DEFAULT_FILES.iter().map(PathBuf::from).find(|path| path.exists()))
    }
}

/// Where an effective value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// A default that follows from other settings or the machine.
    Derived,
    File(PathBuf),
    Env(String),
    Flag(&'static str),
    /// A secret read from the file that `<key>_file` names.
    SecretFile(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Derived => f.write_str("derived"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
            Self::SecretFile(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Origin {
    pub fn is_default(&self) -> bool {
        matches!(self, Self::Default | Self::Derived)
    }
}

/// One line of `doctor --print-config`.
#[derive(Debug, Clone)]
pub struct Effective {
    pub key: &'static str,
    /// Printable: secrets are `***`. `None` when unset.
    pub value: Option<String>,
    pub origin: Origin,
}

static TABLE: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut keys = Vec::new();
    Settings::keys("", &mut keys);
    keys
});

static BY_PATH: LazyLock<HashMap<&'static str, &'static Key>> =
    LazyLock::new(|| keys().iter().map(|key| (key.path.as_str(), key)).collect());

/// Every setting there is, in documentation order.
pub fn keys() -> &'static [Key] {
    &TABLE
}

/// A secret or a configuration larger than this was not written by a person.
const LARGEST_FILE_BYTES: u64 = 1 << 20;

struct Entry {
    raw: Raw,
    origin: Origin,
}

/// The merged layers, and what was found wrong so far.
pub struct Loader {
    entries: BTreeMap<&'static str, Entry>,
    machine: Machine,
    faults: Vec<Fault>,
    broken: BTreeSet<String>,
    effective: Vec<Effective>,
}

impl Loader {
    pub(crate) fn new(sources: &Sources) -> Self {
        let mut loader = Self {
            entries: BTreeMap::new(),
            machine: sources.machine,
            faults: Vec::new(),
            broken: BTreeSet::new(),
            effective: Vec::new(),
        };
        // Lowest first: a later layer replaces what an earlier one said.
        let mut named_files = BTreeMap::new();
        if let Some(path) = &sources.file {
            loader.read_toml(path, &mut named_files);
        }
        loader.read_env(sources, &mut named_files);
        for FlagValue { flag, key, value } in &sources.flags {
            let key = BY_PATH.get(key).expect("flags stand for known settings");
            loader.entries.insert(&key.path, Entry { raw: Raw::Text(value.clone()), origin: Origin::Flag(flag) });
        }
        loader.read_secret_files(named_files);
        loader
    }

    pub(crate) fn machine(&self) -> Machine {
        self.machine
    }

    /// The value of a setting; a faulty one is noted and replaced by its default.
    pub(crate) fn value<T: Setting>(&mut self, path: &str) -> T {
        let key = BY_PATH[path];
        let (value, origin) = match self.entries.get(path) {
            None => self.default_of::<T>(key),
            Some(entry) => match T::parse(&entry.raw) {
                Ok(value) => (value, entry.origin.clone()),
                Err(refusal) => {
                    let message = explain::<T>(entry, refusal);
                    self.fault(path, message);
                    self.default_of::<T>(key)
                }
            },
        };
        let shown = value.show().map(|text| if key.secret { "***".to_owned() } else { text });
        self.effective.push(Effective { key: &key.path, value: shown, origin });
        value
    }

    /// The value another default depends on; `None` when it is faulty.
    pub(crate) fn peek<T: Setting>(&self, path: &str) -> Option<T> {
        match self.entries.get(path) {
            Some(entry) => T::parse(&entry.raw).ok(),
            None => self.try_default(BY_PATH[path]),
        }
    }

    fn default_of<T: Setting>(&self, key: &Key) -> (T, Origin) {
        let origin = match key.default {
            DefaultValue::Derived { .. } => Origin::Derived,
            _ => Origin::Default,
        };
        let value = self.try_default(key).or_else(|| {
            // What it follows from is faulty. The configuration is refused anyway; any value of
            // the type lets the remaining settings be checked.
            PLACEHOLDERS.iter().find_map(|text| T::parse_text(text).ok())
        });
        (value.expect("every type has a default or a placeholder"), origin)
    }

    fn try_default<T: Setting>(&self, key: &Key) -> Option<T> {
        match key.default {
            DefaultValue::Unset => T::unset(),
            DefaultValue::Text(text) => T::parse_text(text).ok(),
            DefaultValue::Derived { make, .. } => make(self).and_then(|text| T::parse_text(&text).ok()),
        }
    }

    /// Notes a fault of one setting.
    pub(crate) fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.broken.insert(path.to_owned());
        self.faults.push(Fault::of(path, message));
    }

    /// Whether a setting was already found faulty, so that what follows from it says nothing new.
    pub(crate) fn is_broken(&self, path: &str) -> bool {
        self.broken.contains(path)
    }

    /// Where a setting that was already read came from.
    pub(crate) fn origin_of(&self, path: &str) -> Option<&Origin> {
        self.effective.iter().find(|line| line.key == path).map(|line| &line.origin)
    }

    pub(crate) fn finish(self) -> Result<Vec<Effective>, ConfigFaults> {
        if self.faults.is_empty() { Ok(self.effective) } else { Err(ConfigFaults(self.faults)) }
    }

    fn read_toml(&mut self, path: &Path, named_files: &mut NamedFiles) {
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(error) => {
                let what = path.display().to_string();
                return self.faults.push(Fault::about(&what, format!("cannot be read: {error}"), None));
            }
        };
        match text.parse::<toml::Table>() {
            Ok(table) => self.walk("", table, path, named_files),
            Err(error) => {
                let (line, column) = error.span().map_or((1, 1), |span| position(&text, span.start));
                let message = format!("line {line}, column {column}: {}", error.message());
                self.faults.push(Fault::about(&path.display().to_string(), message, None));
            }
        }
    }

    fn walk(&mut self, section: &str, table: toml::Table, file: &Path, named_files: &mut NamedFiles) {
        for (name, value) in table {
            let path = crate::table::join(section, &name);
            let origin = Origin::File(file.to_path_buf());
            if let Some(key) = BY_PATH.get(path.as_str()) {
                self.entries.insert(&key.path, Entry { raw: value.into(), origin });
            } else if let Some(key) = secret_of(&path) {
                match Raw::from(value) {
                    Raw::Text(text) => self.name_file(key, PathBuf::from(text), origin, named_files),
                    other => self.fault(&path, format!("expected a path, got {other}")),
                }
            } else if is_section(&path) {
                match value {
                    toml::Value::Table(table) => self.walk(&path, table, file, named_files),
                    _ => self.faults.push(Fault::about(&path, "is a section, write its settings below it", None)),
                }
            } else {
                let noun = if value.is_table() { "section" } else { "setting" };
                self.unknown(&path, &format!("{noun} in {}", file.display()));
            }
        }
    }

    fn read_env(&mut self, sources: &Sources, named_files: &mut NamedFiles) {
        for name in &sources.unreadable_env {
            let path = name.strip_prefix(ENV_PREFIX).unwrap_or(name).replace("__", ".").to_ascii_lowercase();
            self.fault(&path, format!("the value of {name} is not UTF-8"));
        }
        if let Some(filter) = sources.env.get("RUST_LOG").filter(|filter| !filter.trim().is_empty()) {
            let entry =
                Entry { raw: Raw::Text(LogFilter::from_rust_log(filter)), origin: Origin::Env("RUST_LOG".to_owned()) };
            self.entries.insert("log.level", entry);
        }
        for (name, value) in &sources.env {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else { continue };
            let path = rest.replace("__", ".").to_ascii_lowercase();
            let origin = Origin::Env(name.clone());
            // `PUBLARYN__Data_Dir` would otherwise be read as a second spelling of the same setting.
            let is_spelled = rest.chars().all(|c| !c.is_ascii_lowercase());
            match (BY_PATH.get(path.as_str()), secret_of(&path)) {
                (Some(key), _) if is_spelled => {
                    self.entries.insert(&key.path, Entry { raw: Raw::Text(value.clone()), origin });
                }
                (None, Some(key)) if is_spelled => self.name_file(key, PathBuf::from(value), origin, named_files),
                _ => self.unknown(&path, &format!("setting from {name}")),
            }
        }
    }

    fn name_file(&mut self, key: &'static Key, file: PathBuf, origin: Origin, named_files: &mut NamedFiles) {
        // An empty variable means "not set", as for any other optional setting.
        if !(file.as_os_str().is_empty() && matches!(origin, Origin::Env(_))) {
            named_files.insert(&key.path, file);
        }
    }

    fn read_secret_files(&mut self, named_files: NamedFiles) {
        for (key, file) in named_files {
            if self.entries.contains_key(key) {
                self.fault(key, format!("{key} and {key}_file are both set, keep one"));
                continue;
            }
            match read_bounded(&file) {
                Ok(text) => {
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    let text = text.strip_suffix('\r').unwrap_or(text);
                    let entry = Entry { raw: Raw::Text(text.to_owned()), origin: Origin::SecretFile(file) };
                    self.entries.insert(key, entry);
                }
                Err(error) => {
                    let message = format!("cannot read {}: {error}", file.display());
                    self.broken.insert(key.to_owned());
                    self.fault(&format!("{key}_file"), message);
                }
            }
        }
    }

    fn unknown(&mut self, path: &str, place: &str) {
        let nearest = nearest_key(path);
        let hint = match &nearest {
            Some(key) => format!(", did you mean {key}?"),
            None => String::new(),
        };
        let setting = nearest.as_deref().filter(|key| !is_section(key));
        self.faults.push(Fault::about(path, format!("unknown {place}{hint}"), setting));
    }
}

/// Secret settings with the file that holds them.
type NamedFiles = BTreeMap<&'static str, PathBuf>;

/// One of these parses as any type whose default is derived.
const PLACEHOLDERS: &[&str] = &["false", "1000", "http://localhost", "sqlite://publaryn.db", "json", "embedded"];

fn secret_of(path: &str) -> Option<&'static Key> {
    let key = BY_PATH.get(path.strip_suffix("_file")?)?;
    key.from_file.then_some(*key)
}

fn is_section(path: &str) -> bool {
    keys().iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The known setting (or section) whose spelling is closest, when it is close enough to be meant.
fn nearest_key(path: &str) -> Option<String> {
    let sections = keys().iter().filter_map(|key| key.path.rsplit_once('.').map(|(section, _)| section));
    let files = keys().iter().filter(|key| key.from_file).map(|key| format!("{}_file", key.path));
    let known = keys().iter().map(|key| key.path.clone()).chain(sections.map(str::to_owned)).chain(files);
    let leaf = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    known
        .map(|key| {
            // A right name in the wrong section is as near as a misspelt one in the right section.
            let same_leaf = leaf(&key) == leaf(path) && leaf(path).len() > 3;
            let score = strsim::jaro_winkler(&key, path).max(if same_leaf { 0.9 } else { 0.0 });
            (score, strsim::levenshtein(&key, path), key)
        })
        .filter(|(score, ..)| *score >= 0.85)
        .min_by(|a, b| a.1.cmp(&b.1).then(b.0.total_cmp(&a.0)))
        .map(|(.., key)| key)
}

/// The text of a file that has to be small.
fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE_BYTES {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}

/// Line and column of a byte offset, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn explain<T: Setting>(entry: &Entry, refusal: Refusal) -> String {
    let place = match &entry.origin {
        // The variable stands at the end of the line already.
        Origin::Env(name) if name != "RUST_LOG" => String::new(),
        Origin::Env(name) => format!(" from {name}"),
        Origin::Flag(flag) => format!(" from {flag}"),
        Origin::File(path) | Origin::SecretFile(path) => format!(" in {}", path.display()),
        Origin::Default | Origin::Derived => String::new(),
    };
    // A URL with a password in it is as secret as a secret, even when it does not parse.
    let hides_value = T::SECRET || T::FROM_FILE || matches!(&entry.raw, Raw::Text(text) if text.contains('@'));
    match refusal {
        Refusal::Unlike if hides_value => format!("expected {}{place}", T::EXPECTS),
        Refusal::Unlike => format!("expected {}, got {}{place}", T::EXPECTS, entry.raw),
        Refusal::Because(reason) => format!("{reason}{place}"),
    }
}
