//! A machine with Ruby on it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use tokio::process::Command;

use crate::{
    Server,
    process::{self, Ran},
};

/// No client needs longer, even on a busy machine.
const LONGEST: Duration = Duration::from_secs(180);

/// Installs the clients if need be.
fn clients() {
    static CLIENTS: OnceLock<()> = OnceLock::new();
    CLIENTS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/services/rubygems-clients.sh");
        let status = std::process::Command::new(script).stdout(Stdio::null()).status().expect("the script runs");
        assert!(status.success(), "the Ruby clients cannot be installed");
    });
}

/// What a gem is to be.
#[derive(Debug, Clone)]
pub struct Gem {
    pub name: String,
    pub version: String,
    pub platform: String,
    /// Further lines of the specification, about `s`.
    pub extra: String,
    /// A file of noise beside the code, in bytes.
    pub bulk: Vec<u8>,
}

impl Gem {
    pub fn new(name: &str, version: &str) -> Self {
        let (name, version) = (name.to_owned(), version.to_owned());
        Self { name, version, platform: "ruby".into(), extra: String::new(), bulk: Vec::new() }
    }
    pub fn platform(self, platform: &str) -> Self {
        Self { platform: platform.into(), ..self }
    }
    pub fn needs(self, name: &str, requirement: &str) -> Self {
        let requirement = requirement.split(", ").map(|part| format!("{part:?}")).collect::<Vec<_>>().join(", ");
        let extra = format!("{}  s.add_runtime_dependency {name:?}, {requirement}\n", self.extra);
        Self { extra, ..self }
    }
    pub fn bulk(self, bulk: Vec<u8>) -> Self {
        Self { bulk, ..self }
    }
    pub fn full_name(&self) -> String {
        let suffix = if self.platform == "ruby" { String::new() } else { format!("-{}", self.platform) };
        format!("{}-{}{suffix}", self.name, self.version)
    }
}

/// A person's machine; see the module.
pub struct Desk {
    home: PathBuf,
    host: String,
    env: Vec<(String, String)>,
}

impl Desk {
    pub fn new(server: &Server, name: &str) -> Self {
        clients();
        let home = server.scratch(&format!("ruby-{name}"));
        Self { home, host: server.host().to_owned(), env: Vec::new() }
    }

    pub fn with_key(self, key: &str) -> Self {
        self.with_env("GEM_HOST_API_KEY", key)
    }
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn source(&self) -> String {
        format!("http://{}/rubygems", self.host)
    }
    pub fn source_as(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@{}/rubygems", self.host)
    }

    /// A folder for a test's own files.
    pub fn folder(&self, name: &str) -> PathBuf {
        let dir = self.home.join("work").join(name);
        std::fs::create_dir_all(&dir).expect("the scratch directory is writable");
        dir
    }

    pub fn write(&self, dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("below a folder")).expect("the scratch directory is writable");
        std::fs::write(&path, content).expect("the scratch directory is writable");
        path
    }

    /// Builds a gem with `gem build`; the path of its file.
    pub async fn build(&self, gem: &Gem) -> PathBuf {
        let dir = self.folder(&gem.full_name());
        let Gem { name, version, platform, extra, .. } = gem;
        let files = if gem.bulk.is_empty() { "" } else { ", 'bulk.bin'" };
        let spec = format!(
            "Gem::Specification.new do |s|\n  s.name = {name:?}\n  s.version = {version:?}\n  s.platform = {platform:?}\n  \
             s.summary = 'A test: of \"quotes\" and umläute'\n  s.description = \"Two\\nlines\"\n  s.authors = ['Ada']\n  \
             s.email = 'ada@example.test'\n  s.homepage = 'https://acme.test/'\n  s.license = 'MIT'\n  \
             s.files = ['lib/{name}.rb'{files}]\n  s.metadata = {{ 'source_code_uri' => 'https://acme.test/src' }}\n{extra}end\n"
        );
        self.write(&dir, &format!("{name}.gemspec"), spec);
        self.write(
            &dir,
            &format!("lib/{name}.rb"),
            format!("module Made; NAME = {name:?}; VERSION = {version:?}; end\n"),
        );
        if !gem.bulk.is_empty() {
            self.write(&dir, "bulk.bin", &gem.bulk);
        }
        self.gem(&dir, &["build", &format!("{name}.gemspec")]).await.ok();
        dir.join(format!("{}.gem", gem.full_name()))
    }

    /// Builds and pushes.
    pub async fn push(&self, gem: &Gem) -> Ran {
        let file = self.build(gem).await;
        self.push_file(&file).await
    }

    pub async fn push_file(&self, file: &Path) -> Ran {
        self.gem(&self.home, &["push", &file.display().to_string(), "--host", &self.source()]).await
    }

    /// Installs into a directory of its own, which is emptied first.
    pub async fn install(&self, source: &str, args: &[&str]) -> Ran {
        let target = self.target();
        let _ = std::fs::remove_dir_all(&target);
        let source = format!("{source}/");
        let target = target.display().to_string();
        let mut all = vec!["install", "--clear-sources", "--source", &source, "-i", &target, "--no-document"];
        all.extend(args);
        self.gem(&self.folder("empty"), &all).await
    }

    /// Where [`Self::install`] installs.
    pub fn target(&self) -> PathBuf {
        self.home.join("installed")
    }

    pub async fn gem(&self, dir: &Path, args: &[&str]) -> Ran {
        self.run("/usr/bin/gem", dir, args).await
    }
    pub async fn bundle(&self, dir: &Path, args: &[&str]) -> Ran {
        self.run("/usr/bin/bundle", dir, args).await
    }
    pub async fn ruby(&self, dir: &Path, script: &str) -> Ran {
        self.run("/usr/bin/ruby", dir, &["-e", script]).await
    }

    /// A project with a Gemfile.
    pub fn project(&self, name: &str, source: &str, gems: &str) -> PathBuf {
        let dir = self.folder(name);
        self.write(&dir, "Gemfile", format!("source {:?}\n{gems}\n", format!("{source}/")));
        dir
    }

    /// gem at a terminal, where each prompt is answered as soon as it shows.
    pub async fn type_into_gem(&self, dir: &Path, args: &[&str], answers: &[(&str, &str)]) -> Ran {
        let mut gem = Command::new("/usr/bin/gem");
        gem.args(args);
        self.finish(process::at_terminal(&gem, answers), dir, format!("gem {}", args.join(" "))).await
    }

    async fn run(&self, program: &str, dir: &Path, args: &[&str]) -> Ran {
        let mut command = Command::new(program);
        command.args(args);
        self.finish(command, dir, format!("{program} {}", args.join(" "))).await
    }

    async fn finish(&self, mut command: Command, dir: &Path, shown: String) -> Ran {
        let tmp = self.home.join("tmp");
        std::fs::create_dir_all(&tmp).expect("the scratch directory is writable");
        command.current_dir(dir).env_clear();
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.home)
            .env("TMPDIR", &tmp)
            .env("GEM_HOME", self.home.join("gems"))
            .env("GEM_SPEC_CACHE", self.home.join("specs"))
            .env("BUNDLE_USER_HOME", self.home.join("bundle"))
            .env("BUNDLE_PATH", self.home.join("bundled"))
            .env("BUNDLE_SILENCE_ROOT_WARNING", "true")
            .env("BUNDLE_DISABLE_VERSION_CHECK", "true")
            .env("BUNDLE_RETRY", "0")
            .env("NO_PROXY", "*")
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        process::run(command, &shown, "", LONGEST).await.ran(shown)
    }
}
