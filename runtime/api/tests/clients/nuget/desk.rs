//! A machine with the .NET SDK, mono and both older clients on it.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use tokio::process::Command;

use crate::{
    Server,
    process::{self, Said},
};

static MONO: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// No client needs longer, even on a busy machine.
const LONGEST: Duration = Duration::from_secs(240);

/// The folder of the clients, installed if need be.
fn clients() -> &'static Path {
    static CLIENTS: OnceLock<PathBuf> = OnceLock::new();
    CLIENTS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/services/nuget-clients.sh");
        let output = std::process::Command::new(script).output().expect("the script runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the NuGet clients cannot be installed: {said}");
        String::from_utf8_lossy(&output.stdout).trim().into()
    })
}

/// A person's machine; see the module.
pub struct Desk {
    home: PathBuf,
    base: String,
    sources: Vec<(String, String)>,
    /// Source, user and password.
    login: Option<(String, String, String)>,
}

impl Desk {
    /// Knows the server as the source `here`.
    pub fn new(server: &Server, name: &str) -> Self {
        let home = server.scratch(&format!("nuget-{name}"));
        let base = format!("{}/nuget", server.base_url());
        let sources = vec![("here".to_owned(), format!("{base}/v3/index.json"))];
        Self { home, base, sources, login: None }
    }

    /// Another address of the source `here`, below `/nuget`.
    pub fn at(mut self, path: &str) -> Self {
        self.sources[0].1 = format!("{}{path}", self.base);
        self
    }
    pub fn and_source(mut self, name: &str, address: &str) -> Self {
        self.sources.push((name.to_owned(), address.to_owned()));
        self
    }
    pub fn with_password(mut self, password: &str) -> Self {
        self.login = Some(("here".into(), "anybody".into(), password.into()));
        self
    }

    /// The address of the source `here`.
    pub fn source(&self) -> &str {
        &self.sources[0].1
    }

    /// A folder for a test's own files, with this machine's sources configured in it.
    pub fn folder(&self, name: &str) -> PathBuf {
        let dir = self.home.join("work").join(name);
        std::fs::create_dir_all(&dir).expect("the scratch directory is writable");
        let sources: String =
            self.sources.iter().map(|(name, url)| format!("<add key=\"{name}\" value=\"{url}\" />")).collect();
        let login = self.login.as_ref().map(|(source, user, password)| {
            format!(
                "<packageSourceCredentials><{source}><add key=\"Username\" value=\"{user}\" />\
                 <add key=\"ClearTextPassword\" value=\"{password}\" /></{source}></packageSourceCredentials>"
            )
        });
        let config = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><configuration><packageSources><clear />{sources}</packageSources>\
             {}</configuration>",
            login.unwrap_or_default()
        );
        write(&dir, "NuGet.Config", config);
        dir
    }

    /// A library `ID` whose `Say()` names its version, built and packed with its symbols; the folder of its packages.
    pub async fn pack(&self, id: &str, version: &str) -> PathBuf {
        let dir = self.folder(&format!("{id}-lib"));
        let project = format!(
            "<Project Sdk=\"Microsoft.NET.Sdk\"><PropertyGroup><TargetFramework>netstandard2.1</TargetFramework>\
             <PackageId>{id}</PackageId><AssemblyName>{id}</AssemblyName><Authors>Ada</Authors>\
             <Description>A library</Description><PackageTags>test fast</PackageTags>\
             <PackageLicenseExpression>MIT</PackageLicenseExpression><IncludeSymbols>true</IncludeSymbols>\
             <SymbolPackageFormat>snupkg</SymbolPackageFormat></PropertyGroup></Project>"
        );
        write(&dir, "Lib.csproj", project);
        write(
            &dir,
            "Lib.cs",
            format!(
                "namespace Acme {{ public static class Lib {{ public static string Say() => \"this is {version}\"; }} }}"
            ),
        );
        let out = self.home.join("packed").join(version);
        let (out_text, property) = (out.display().to_string(), format!("-p:Version={version}"));
        self.dotnet(&dir, &["pack", "-o", &out_text, &property]).await.succeeds();
        out
    }

    /// A program that prints what `Acme.Lib` says, in the version asked for.
    pub fn app(&self, name: &str, version: &str) -> PathBuf {
        let dir = self.folder(name);
        let project = format!(
            "<Project Sdk=\"Microsoft.NET.Sdk\"><PropertyGroup><OutputType>Exe</OutputType>\
             <TargetFramework>netcoreapp3.1</TargetFramework><UseAppHost>false</UseAppHost></PropertyGroup>\
             <ItemGroup><PackageReference Include=\"Acme.Lib\" Version=\"{version}\" /></ItemGroup></Project>"
        );
        write(&dir, "App.csproj", project);
        write(
            &dir,
            "App.cs",
            "public static class App { public static void Main() => System.Console.WriteLine(Acme.Lib.Say()); }",
        );
        dir
    }

    /// Forgets what was installed and built.
    pub fn forget(&self, dir: &Path) {
        for gone in [self.home.join("packages"), dir.join("obj"), dir.join("bin")] {
            let _ = std::fs::remove_dir_all(gone);
        }
    }

    pub async fn dotnet(&self, dir: &Path, args: &[&str]) -> Said {
        let root = clients();
        let mut command = self.command(root.join("dotnet/dotnet"), dir);
        command.env("LD_LIBRARY_PATH", root.join("ssl/usr/lib/x86_64-linux-gnu")).args(args);
        self.run(command, &format!("dotnet {}", args.join(" "))).await
    }

    /// NuGet 3.4.4.
    pub async fn nuget3(&self, dir: &Path, args: &[&str]) -> Said {
        let mut command = self.command("/usr/bin/mono".into(), dir);
        command.arg(clients().join("nuget3/bin/nuget.exe")).args(args).args(["-NonInteractive"]);
        self.run_on_mono(command, &format!("nuget.exe {}", args.join(" "))).await
    }

    /// NuGet 2.8.7, with a terminal: without one `list` never ends.
    pub async fn nuget2(&self, dir: &Path, args: &[&str]) -> Said {
        clients();
        let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
        let line = format!("stty cols 160 rows 50; exec /usr/bin/nuget {} -NonInteractive", quoted.join(" "));
        let mut command = self.command("/usr/bin/script".into(), dir);
        // mono finds no width in a dumb terminal.
        command.env("TERM", "xterm").args(["-qec", &line, "/dev/null"]);
        self.run_on_mono(command, &format!("nuget {}", args.join(" "))).await
    }

    fn command(&self, program: PathBuf, dir: &Path) -> Command {
        // Documents are kept for half an hour whatever the server says.
        for cache in [".local/share/NuGet/v3-cache", ".local/share/NuGet/Cache"] {
            let _ = std::fs::remove_dir_all(self.home.join(cache));
        }
        let tmp = self.home.join("tmp");
        std::fs::create_dir_all(&tmp).expect("the scratch directory is writable");
        let mut command = Command::new(program);
        command.current_dir(dir).env_clear();
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.home)
            .env("TMPDIR", &tmp)
            .env("NUGET_PACKAGES", self.home.join("packages"))
            .env("DOTNET_CLI_TELEMETRY_OPTOUT", "1")
            .env("DOTNET_SKIP_FIRST_TIME_EXPERIENCE", "1")
            .env("DOTNET_NOLOGO", "1")
            .env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1")
            // Nothing stays behind when a command has ended.
            .env("MSBUILDDISABLENODEREUSE", "1")
            .env("UseSharedCompilation", "false")
            .env("NO_PROXY", "*")
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb");
        command
    }

    /// One of those on mono at a time: beside another on two busy cores, 3.4.4 was seen to give an upload up.
    async fn run_on_mono(&self, command: Command, shown: &str) -> Said {
        let _turn = MONO.lock().await;
        self.run(command, shown).await
    }

    async fn run(&self, command: Command, shown: &str) -> Said {
        process::run(command, shown, "", LONGEST).await.said(shown)
    }
}

pub fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    std::fs::write(dir.join(name), content).expect("the scratch directory is writable");
}
