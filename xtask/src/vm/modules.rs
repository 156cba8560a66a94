//! The kernel modules that the tests need, in the order in which they can be loaded.
//!
//! Packages carry no list of dependencies (installing them would make it), so each module's own
//! note is read. Nothing here may run a kernel's tools: the machine may have none, or others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufReader, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// Links between namespaces, addresses that no wire carries, the lists of sockets, and a protocol whose
/// sockets are to be left alone.
const WANTED: [&str; 5] = ["veth", "dummy", "tcp_diag", "udp_diag", "sctp"];

/// A module, uncompressed.
pub(super) struct Module {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// What the tests need of the modules in `folder`, each behind those that it depends on.
///
/// # Errors
/// When one is neither there nor built in.
pub(super) fn load(folder: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    list(&folder.join("kernel"), &mut files)?;
    let built_in = fs::read_to_string(folder.join("modules.builtin"))
        .with_context(|| format!("cannot read modules.builtin in {}", folder.display()))?;
    let built_in = built_in.lines().filter_map(|line| name(Path::new(line))).collect();
    let mut loader = Loader { files, built_in, seen: BTreeSet::new(), loaded: Vec::new() };
    WANTED.iter().try_for_each(|name| loader.load(name))?;
    Ok(loader.loaded)
}

struct Loader {
    files: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
    seen: BTreeSet<String>,
    loaded: Vec<Module>,
}

impl Loader {
    fn load(&mut self, name: &str) -> Result<()> {
        if self.built_in.contains(name) || !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self.files.get(name).with_context(|| format!("there is no module {name}"))?;
        let bytes = read(path).with_context(|| format!("cannot read {}", path.display()))?;
        for dependency in depends(&bytes) {
            self.load(&dependency)?;
        }
        self.loaded.push(Module { name: name.to_owned(), bytes });
        Ok(())
    }
}

/// Notes every module below `folder`.
fn list(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else if let Some(name) = name(&entry.path()) {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// The module's name, in which the kernel writes every dash as an underscore.
fn name(path: &Path) -> Option<String> {
    let (name, rest) = path.file_name()?.to_str()?.split_once(".ko")?;
    (rest.is_empty() || rest.starts_with('.')).then(|| name.replace('-', "_"))
}

/// The module's bytes as insmod takes them.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = BufReader::new(File::open(path)?);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => drop(file.read_to_end(&mut bytes)?),
        Some("xz") => lzma_rs::xz_decompress(&mut file, &mut bytes)?,
        _ => bail!("it is compressed in a way that is not known here"),
    }
    Ok(bytes)
}

/// What a module says that it depends on: `depends=a,b` between zero bytes.
fn depends(module: &[u8]) -> Vec<String> {
    let value = module.split(|&byte| byte == 0).find_map(|note| note.strip_prefix(b"depends="));
    String::from_utf8_lossy(value.unwrap_or_default())
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loader(modules: &[(&str, &str)], folder: &Path) -> Loader {
        let files = modules.iter().map(|(name, depends)| {
            let path = folder.join(format!("{name}.ko"));
            fs::write(&path, format!("ELF\0depends={depends}\0name={name}\0")).unwrap();
            ((*name).to_owned(), path)
        });
        let files = files.collect();
        let built_in = BTreeSet::from(["ipv6".to_owned()]);
        Loader { files, built_in, seen: BTreeSet::new(), loaded: Vec::new() }
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let modules =
            [("udp_diag", "inet-diag"), ("tcp_diag", "inet_diag,ipv6"), ("inet_diag", "")];
        let mut loader = loader(&modules, folder.path());
        for name in ["ipv6", "tcp_diag", "udp_diag"] {
            loader.load(name).unwrap();
        }
        let names: Vec<&str> = loader.loaded.iter().map(|module| &*module.name).collect();
        assert_eq!(names, ["inet_diag", "tcp_diag", "udp_diag"]);
        assert!(loader.load("veth").unwrap_err().to_string().contains("veth"));
    }

    #[test]
    fn names_are_the_kernels() {
        let names = ["kernel/net/a-b.ko", "c.ko.xz", "modules.order", "d.komodo"]
            .map(|path| name(Path::new(path)));
        assert_eq!(names, [Some("a_b".to_owned()), Some("c".to_owned()), None, None]);
    }
}
