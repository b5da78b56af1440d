#!/usr/bin/env bash
# Installs what the Maven tests drive: mvn with the plugins of a build, Gradle, Ivy and Leiningen, as Debian 12 has them
# (3.8.7, 4.4.1, 2.5.0, 2.10.0); newer mvn, sbt, and the version order of a newer Maven, from Maven Central. Prints the
# folder of the latter.
#
# Debian's plugins lie in a repository of their own (/usr/share/maven-repo), which the tests' settings put in the place
# of Maven Central: no test needs the network.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"

root="${PUBLARYN_MAVEN_CLIENTS:-$CACHE/maven-clients}"
mkdir -p "$root"
exec 9>"$root/.lock"
flock 9

repository=/usr/share/maven-repo
need_debian javac openjdk-17-jdk-headless
need_debian mvn maven
plugins=$repository/org/apache/maven/plugins
need_debian "$plugins/maven-deploy-plugin" libmaven-deploy-plugin-java
need_debian "$plugins/maven-dependency-plugin" libmaven-dependency-plugin-java
need_debian "$plugins/maven-install-plugin" libmaven-install-plugin-java
need_debian "$plugins/maven-jar-plugin" libmaven-jar-plugin-java
need_debian "$plugins/maven-source-plugin" libmaven-source-plugin-java
need_debian "$plugins/maven-compiler-plugin" libmaven-compiler-plugin-java
need_debian "$plugins/maven-resources-plugin" libmaven-resources-plugin-java
need_debian "$plugins/maven-surefire-plugin" libsurefire-java
need_debian "$plugins/maven-plugin-plugin" libmaven-plugin-tools-java
need_debian gradle gradle
need_debian /usr/share/java/ivy.jar ivy
need_debian ant ant
need_debian lein leiningen
need_debian curl curl

# Debian's own Maven orders some versions as only old ones do.
version=3.9.9
scratch=$(mktemp -d "$root/fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
# fetch GROUP:ARTIFACT:VERSION[:TYPE[:CLASSIFIER]] FILE SHA256: a file from Maven Central, into the scratch folder.
fetch() {
  say "fetching $1"
  echo '<settings/>' >"$scratch/settings.xml"
  mvn -q -B -s "$scratch/settings.xml" -Dmaven.repo.local="$scratch/repository" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -Dartifact="$1" -DoutputDirectory="$scratch/out" >&2
  echo "$3  $scratch/out/$2" | sha256sum -c - >&2
}

order="$root/maven-artifact-$version.jar"
if [ ! -e "$order" ]; then
  fetch "org.apache.maven:maven-artifact:$version" "maven-artifact-$version.jar" \
    30f015d1c1a393e19c18cd4f43532089c36d4ca328608ce3dda78b74d3d31515
  mv "$scratch/out/maven-artifact-$version.jar" "$order"
fi

# maven VERSION SHA256
maven() {
  [ -e "$root/apache-maven-$1" ] && return
  fetch "org.apache.maven:apache-maven:$1:tar.gz:bin" "apache-maven-$1-bin.tar.gz" "$2"
  tar -xzf "$scratch/out/apache-maven-$1-bin.tar.gz" -C "$scratch"
  mv "$scratch/apache-maven-$1" "$root/apache-maven-$1"
}
maven 3.9.11 4b7195b6a4f5c81af4c0212677a32ee8143643401bc6e1e8412e6b06ea82beac
maven 4.0.0-rc-4 454ab0fb07e6e9e365f7f56e6bcef18df1d619aa57e2bd6de527f0e0c85bdbbb

# sbt fetches itself the first time that it runs; tests run it with what it fetched here.
if [ ! -e "$root/sbt/launch.jar" ]; then
  fetch org.scala-sbt:sbt-launch:1.10.7 sbt-launch-1.10.7.jar \
    3cca02818047327a83efde776103a1ef92f76f72c062badbbb062499a3270c07
  mkdir -p "$root/sbt" "$scratch/sbt/project"
  printf '[repositories]\n  local\n  maven-central\n' >"$root/sbt/repositories"
  echo 'sbt.version=1.10.7' >"$scratch/sbt/project/build.properties"
  # Publishing and resolving, so that whatever either needs is there.
  printf '%s\n' 'organization := "com.acme"' 'name := "warm"' 'version := "1.0"' 'autoScalaLibrary := false' \
    'crossPaths := false' >"$scratch/sbt/build.sbt"
  (cd "$scratch/sbt" && env COURSIER_CACHE="$root/sbt/cache" java -Xmx600m -Dsbt.boot.directory="$root/sbt/boot" \
    -Dsbt.global.base="$scratch/sbt-global" -Dsbt.ivy.home="$scratch/sbt-ivy" -Dsbt.override.build.repos=true \
    -Dsbt.repository.config="$root/sbt/repositories" -Dsbt.server.autostart=false \
    -jar "$scratch/out/sbt-launch-1.10.7.jar" update publishM2 >&2)
  mv "$scratch/out/sbt-launch-1.10.7.jar" "$root/sbt/launch.jar"
fi

echo "$root"
