use super::{Desk, Gem};
use crate::{Server, on_backends};

on_backends!(gem_installs_what_was_pushed, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    desk.push(&Gem::new("base", "1.0.0")).await.ok();
    desk.push(&Gem::new("base", "1.10.0")).await.ok();
    desk.push(&Gem::new("base", "1.9.0")).await.ok();
    desk.push(&Gem::new("base", "2.0.0.rc1")).await.ok();
    desk.push(&Gem::new("top", "0.1.0").needs("base", ">= 1.0, < 1.10")).await.ok();

    let is_there = |name: &str| desk.target().join("gems").join(name).join("lib").is_dir();
    desk.install(&desk.source(), &["top"]).await.ok().says("Successfully installed top-0.1.0");
    assert!(is_there("top-0.1.0") && is_there("base-1.9.0"));
    let log = server.log();
    for asked in
        ["/rubygems/info/top", "/rubygems/quick/Marshal.4.8/top-0.1.0.gemspec.rz", "/rubygems/gems/top-0.1.0.gem"]
    {
        assert!(log.contains(asked), "{asked}");
    }
    desk.install(&desk.source(), &["base"]).await.ok();
    assert!(is_there("base-1.10.0"));
    desk.install(&desk.source(), &["base", "-v", "1.0.0"]).await.ok();
    assert!(is_there("base-1.0.0"));
    desk.install(&desk.source(), &["base", "--pre"]).await.ok();
    assert!(is_there("base-2.0.0.rc1"));
    desk.install(&desk.source(), &["missing"]).await.fails().says("Could not find a valid gem 'missing'");
});

on_backends!(gem_lists_searches_fetches, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    desk.push(&Gem::new("acme", "1.0.0")).await.ok();
    desk.push(&Gem::new("acme", "1.2.0")).await.ok();
    desk.push(&Gem::new("acme", "1.2.0").platform("java")).await.ok();
    desk.push(&Gem::new("acme", "2.0.0.pre")).await.ok();
    let source = format!("{}/", desk.source());
    let work = desk.folder("empty");
    let gem = async |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["--clear-sources", "--source", &source]);
        desk.gem(&work, &all).await.ok()
    };
    gem(&["list", "-r", "acme"]).await.says("acme (1.2.0");
    gem(&["list", "-r", "acme", "-a"]).await.says("1.2.0").says("1.0.0").never_says("2.0.0");
    gem(&["list", "-r", "acme", "--pre"]).await.says("2.0.0.pre");
    gem(&["search", "ac"]).await.says("acme (1.2.0");
    gem(&["info", "-r", "acme"]).await.says("Ada").says("https://acme.test/");
    gem(&["install", "acme", "-v", "1.0.0", "--no-document"]).await.says("Successfully installed acme-1.0.0");
    gem(&["outdated"]).await.says("acme (1.0.0 < 1.2.0)");
    gem(&["fetch", "acme"]).await.says("Downloaded acme-1.2.0");
    assert!(work.join("acme-1.2.0.gem").is_file());
    gem(&["specification", "-r", "acme", "-v", "1.0.0"]).await.says("name: acme").says("version: 1.0.0");
});

on_backends!(marshalled_documents_say_what_the_gem_says, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    let gem = Gem::new("acme", "1.10").needs("base", "~> 1.2, != 1.2.3").platform("x86_64-linux-musl");
    let gem = Gem {
        extra: format!(
            "{}  s.required_ruby_version = '>= 2.0'\n  s.add_development_dependency 'rake', '>= 1'\n",
            gem.extra
        ),
        ..gem
    };
    let file = desk.build(&gem).await;
    desk.push_file(&file).await.ok();
    let script = format!(
        "require 'rubygems/package'; require 'open-uri'; require 'zlib'\n\
         base = {:?}\n\
         here = Gem::Package.new({:?}).spec\n\
         there = Marshal.load(Zlib::Inflate.inflate(URI.open(base + '/quick/Marshal.4.8/' + here.full_name + '.gemspec.rz').read))\n\
         %w[name version platform date summary description homepage authors email licenses metadata dependencies\n\
            required_ruby_version required_rubygems_version rubygems_version specification_version].each do |key|\n\
           a, b = here.public_send(key), there.public_send(key)\n\
           # What this version of RubyGems makes of the licences it reads.\n\
           b = there.instance_variable_get(:@license) || b if key == 'licenses'\n\
           b = b.first if key == 'email' && b.is_a?(Array)\n\
           abort \"#{{key}}: #{{a.inspect}} #{{b.inspect}}\" unless a == b\n\
         end\n\
         %w[specs latest_specs prerelease_specs].each do |list|\n\
           plain = Marshal.load(URI.open(base + '/' + list + '.4.8').read)\n\
           packed = Marshal.load(Zlib::GzipReader.new(StringIO.new(URI.open(base + '/' + list + '.4.8.gz').read)).read)\n\
           abort list unless plain == packed\n\
           puts list + ': ' + plain.inspect\n\
         end\n\
         puts 'equal'",
        desk.source(),
        file.display().to_string(),
    );
    let ran = desk.ruby(&desk.folder("empty"), &script).await.ok().says("equal");
    ran.says("specs: [[\"acme\", #<Gem::Version \"1.10\">, \"x86_64-linux-musl\"]]").says("prerelease_specs: []");
});

on_backends!(an_empty_registry_is_simply_empty, async |server: Server| {
    let desk = Desk::new(&server, "ada");
    let source = format!("{}/", desk.source());
    let listed = desk.gem(&desk.folder("empty"), &["list", "-r", "acme", "--clear-sources", "--source", &source]).await;
    listed.ok().never_says("ERROR");
    desk.install(&desk.source(), &["acme"]).await.fails().says("Could not find a valid gem 'acme'");
    let project = desk.project("app", &desk.source(), "gem 'acme'");
    let ran = desk.bundle(&project, &["install"]).await.fails();
    ran.says("Could not find gem 'acme'").never_says("Bug report");
});
