# Collects in /collected what the image has: Node and the libraries that it and DuckDB load, from the base, beside the bundle.
set -eu
refuse() { echo "sluice: $1" >&2; exit 65; }

node=$(command -v node) || refuse "the base has no Node: it must have 22.15 or newer"
node=$(readlink -f "$node")
version=$("$node" --version)
"$node" -e 'const [major, minor] = process.versions.node.split("."); process.exit(major > 22 || (major == 22 && minor >= 15) ? 0 : 1)' ||
  refuse "the base has Node $version: it must have 22.15 or newer"
architecture=$("$node" -p process.arch)
[ "${TARGET:-$architecture}" = "$architecture" ] ||
  refuse "the base is for $architecture, and the bundle for $TARGET: give --arch, or another --base"
command -v ldd >/dev/null || refuse "the base has no ldd, by which the libraries are found"
"$node" -p 'process.report.getReport().header.glibcVersionRuntime' | grep -q '^2' ||
  refuse "the base has no glibc (Alpine's are of musl), for which DuckDB's library is made"
libraries=$(ldd "$node" /collected/sluice/libduckdb.so)
if echo "$libraries" | grep 'not found' >&2; then refuse "the base lacks the libraries above"; fi
"$node" -e 'require("/collected/sluice/duckdb.node")' || refuse "DuckDB can't be loaded in the base"

data=/collected/var/lib/sluice
mkdir -p /collected/usr/local/bin /collected/etc /collected/tmp $data/process $data/staging $data/destination
cp "$node" /collected/usr/local/bin/node
ln -s /sluice/main.js /collected/usr/local/bin/sluice
for library in $(echo "$libraries" | grep -o '/[^ ]*\.so[^ ]*' | grep -v '^/collected' | sort -u); do
  mkdir -p "/collected$(dirname "$library")"
  cp -L "$library" "/collected$library"
done
printf 'root:x:0:0::/:/\nsluice:x:65532:65532::/:/\n' >/collected/etc/passwd
printf 'root:x:0:\nsluice:x:65532:\n' >/collected/etc/group
chmod 755 /collected/sluice /collected/sluice/main.js
chmod 1777 /collected/tmp
chown -R 65532:65532 $data
find /collected -exec touch -h -d @0 {} +
