#!/usr/bin/env bash
# Installs what the Maven tests drive: mvn with the plugins of a build, Gradle and Ivy, as Debian 12 has them (3.8.7,
# 4.4.1, 2.5.0), and the version order of a newer Maven. Prints the folder of the latter.
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
need_debian curl curl

# Debian's own Maven orders some versions as only old ones do.
version=3.9.9
order="$root/maven-artifact-$version.jar"
if [ ! -e "$order" ]; then
  say "fetching maven-artifact $version"
  scratch=$(mktemp -d "$root/fetch.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  echo '<settings/>' >"$scratch/settings.xml"
  mvn -q -B -s "$scratch/settings.xml" -Dmaven.repo.local="$scratch/repository" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact="org.apache.maven:maven-artifact:$version" -DoutputDirectory="$scratch/out" >&2
  echo "30f015d1c1a393e19c18cd4f43532089c36d4ca328608ce3dda78b74d3d31515  $scratch/out/maven-artifact-$version.jar" |
    sha256sum -c - >&2
  mv "$scratch/out/maven-artifact-$version.jar" "$order"
fi

echo "$root"
