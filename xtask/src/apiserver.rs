//! The Kubernetes tests, and the real API server that they can be run on.
//!
//! Nothing here may fail a run that was not asked for the real server.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// Names the folder with the server's programs, as `setup-envtest` and its kin want it.
const ASSETS: &str = "KUBEBUILDER_ASSETS";
const PROGRAMS: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];
const REMEDY: &str = "it names a folder with etcd, kube-apiserver and kubectl, such as \
                      `setup-envtest use -p path` prints";

/// What the names of the test programs begin with.
pub(crate) const PREFIX: &str = "kube";

/// The environment in which tests run on the real server.
///
/// # Errors
/// When there is none; with what is to be done.
pub(crate) fn environment() -> Result<[(&'static str, OsString); 2]> {
    let folder = check(env::var_os(ASSETS))?;
    // Test programs are run in another folder.
    let folder =
        fs::canonicalize(&folder).with_context(|| format!("cannot find {}", folder.display()))?;
    Ok([(ASSETS, folder.into()), ("SOCKLB_APISERVER", "real".into())])
}

/// What to say of the real server after a run without it, if these tests were part of the run.
///
/// # Errors
/// When the tests cannot be listed.
pub(crate) fn note(tests: &Path) -> Result<Option<String>> {
    let names = programs(tests)?;
    if names.is_empty() {
        return Ok(None);
    }
    let why = match check(env::var_os(ASSETS)) {
        Ok(_) => "cargo xtask test --apiserver does that".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    Ok(Some(format!("not run on a real API server: {}\n  ({why})", names.join(", "))))
}

fn check(folder: Option<OsString>) -> Result<PathBuf> {
    let folder = folder.filter(|folder| !folder.is_empty());
    let folder = folder.with_context(|| format!("{ASSETS} is not set: {REMEDY}"))?;
    let folder = PathBuf::from(folder);
    for name in PROGRAMS {
        let path = folder.join(name);
        let file = fs::metadata(&path).ok().filter(fs::Metadata::is_file);
        let runs = file.is_some_and(|file| file.permissions().mode() & 0o111 != 0);
        ensure!(runs, "{ASSETS}: {} is no program: {REMEDY}", path.display());
    }
    Ok(folder)
}

/// The test programs, by their names.
fn programs(tests: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let entries =
        fs::read_dir(tests).with_context(|| format!("cannot list {}", tests.display()))?;
    for entry in entries {
        let path = entry?.path();
        let is_program = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").is_file();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if is_program && name.starts_with(PREFIX) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_must_have_all_three_programs() {
        let folder = tempfile::tempdir().unwrap();
        let check = |folder: Option<&Path>| check(folder.map(Into::into));
        let told = |folder| check(folder).unwrap_err().to_string();
        assert!(told(None).starts_with("KUBEBUILDER_ASSETS is not set: it names a folder with"));
        assert!(told(Some(Path::new(""))).starts_with("KUBEBUILDER_ASSETS is not set"));
        for name in PROGRAMS {
            let path = folder.path().join(name);
            let wanted = format!("KUBEBUILDER_ASSETS: {} is no program: it names", path.display());
            assert!(told(Some(folder.path())).starts_with(&wanted));
            fs::write(&path, "").unwrap();
            assert!(told(Some(folder.path())).starts_with(&wanted), "it cannot be run");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert_eq!(check(Some(folder.path())).unwrap(), folder.path());
    }

    #[test]
    fn test_programs_are_files_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["kube_b.rs", "agent.rs", "kube_a/main.rs", "kube_c/other.rs", "kube.md"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!(programs(folder.path()).unwrap(), ["kube_a", "kube_b"]);
        let note = note(folder.path()).unwrap().unwrap();
        assert!(note.starts_with("not run on a real API server: kube_a, kube_b\n"), "{note}");
    }

    #[test]
    fn this_checkout_has_such_programs() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
        assert!(!programs(&tests).unwrap().is_empty());
    }
}
