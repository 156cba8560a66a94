//! How the real server is started, waited for and ended, with stand-ins for its programs: scripts that
//! write down how they were called. What the real ones then do is for `cargo xtask test --apiserver`.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lab::{
    Lab,
    apiserver::{PROGRAMS, Real, VARIABLE, check},
    programs::Programs,
    requirement::{self, ELSEWHERE, Need, SKIPS},
};

/// Writes down its arguments and its process, and stays.
const STAYS: &str = "#!/bin/sh
name=$(basename \"$0\")
echo $$ > \"$HOME/$name.process\"
printf '%s\\n' \"$@\" > \"$HOME/$name.new\"
mv \"$HOME/$name.new\" \"$HOME/$name.arguments\"
exec sleep 1000
";
/// Says that the server is ready when it is asked for the second time, at the earliest.
const ANSWERS: &str = "#!/bin/sh
printf '%s\\n' \"$@\" > \"$HOME/kubectl.arguments\"
if [ -e \"$HOME/asked\" ] && [ -e \"$HOME/kube-apiserver.arguments\" ]; then echo ok; exit 0; fi
touch \"$HOME/asked\"
echo 'not yet' >&2
exit 1
";

/// A folder of stand-ins, of which the server is `server`.
fn stand_ins(lab: &Lab, server: &str) -> Result<PathBuf> {
    let folder = lab.scratch().join("assets");
    fs::create_dir(&folder)?;
    for (name, text) in PROGRAMS.into_iter().zip([STAYS, server, ANSWERS]) {
        let path = folder.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(folder)
}

/// Listens for etcd, once its stand-in was called. Fails if the server was called by then.
fn listen_for_etcd(folder: PathBuf) -> thread::JoinHandle<Result<TcpListener>> {
    thread::spawn(move || {
        while !folder.join("etcd.arguments").exists() {
            thread::sleep(Duration::from_millis(1));
        }
        let early = folder.join("kube-apiserver.arguments").exists();
        ensure!(!early, "the server was started before etcd listened");
        Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 2379))?)
    })
}

fn process(lab: &Lab, name: &str) -> Result<PathBuf> {
    let id = fs::read_to_string(lab.scratch().join(format!("{name}.process")))?;
    Ok(Path::new("/proc").join(id.trim()))
}

fn arguments(lab: &Lab, name: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(lab.scratch().join(format!("{name}.arguments")))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn start(lab: &Lab, assets: &Path) -> Result<Real> {
    let etcd = listen_for_etcd(lab.scratch().to_owned());
    let guard = Path::new(env!("CARGO_BIN_EXE_socklb-lab"));
    let started = Real::start(&Programs::new(lab, guard), assets);
    let _listening = etcd.join().expect("it does not panic")?;
    started
}

#[test]
fn etcd_and_the_server_are_started_in_order_and_both_end() {
    lab::isolated(|lab| {
        let assets = stand_ins(lab, STAYS)?;
        let real = start(lab, &assets)?;
        let access = real.access();
        assert_eq!(access.url, "https://127.0.0.1:6443");
        assert!(access.ca.as_ref().is_some_and(|ca| ca.contains("BEGIN CERTIFICATE")));

        let etcd = arguments(lab, "etcd")?;
        assert!(etcd.contains(&"--listen-client-urls=http://127.0.0.1:2379".into()), "{etcd:?}");
        let server = arguments(lab, "kube-apiserver")?;
        for wanted in [
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=127.0.0.1",
            "--secure-port=6443",
            "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112",
            "--disable-admission-plugins=ServiceAccount",
        ] {
            assert!(server.contains(&wanted.to_owned()), "{wanted} in {server:?}");
        }
        // Whatever file it is told of is there, and nothing lies elsewhere.
        let mut files = 0;
        for (flag, path) in server.iter().chain(&etcd).filter_map(|word| word.split_once("=/")) {
            let path = Path::new("/").join(path);
            assert!(path.starts_with(lab.scratch()), "{flag} {}", path.display());
            if flag.ends_with("-file") {
                assert!(fs::metadata(&path)?.len() > 0, "{flag} {}", path.display());
                files += 1;
            }
            if flag == "--token-auth-file" {
                let user = format!("{},lab,lab,\"system:masters\"\n", access.token);
                assert_eq!(fs::read_to_string(&path)?, user);
            }
        }
        assert_eq!(files, 5);
        let asked = arguments(lab, "kubectl")?;
        let [first, kubeconfig, .., path] = &asked[..] else { anyhow::bail!("{asked:?}") };
        assert_eq!((first.as_str(), path.as_str()), ("--kubeconfig", "/readyz"));
        assert!(fs::read_to_string(kubeconfig)?.contains(&access.token));

        let processes = [process(lab, "etcd")?, process(lab, "kube-apiserver")?];
        assert!(processes.iter().all(|process| process.exists()));
        drop(real);
        assert!(processes.iter().all(|process| !process.exists()));
        Ok(())
    });
}

#[test]
fn a_server_that_ends_is_told_with_what_it_wrote() {
    lab::isolated(|lab| {
        let ends = "#!/bin/sh\necho 'no such flag' >&2\nexit 3\n";
        let assets = stand_ins(lab, ends)?;
        // Never ready: kubectl would say so otherwise.
        fs::write(assets.join("kubectl"), "#!/bin/sh\nexit 1\n")?;
        let error = format!("{:#}", start(lab, &assets).err().context("it started")?);
        assert!(error.contains("ended before it was ready, exit status: 3"), "{error}");
        assert!(error.contains("no such flag"), "{error}");
        assert!(!process(lab, "etcd")?.exists());
        Ok(())
    });
}

#[test]
fn what_needs_the_double() {
    lab::isolated_with(&[Need::Double], |_| Ok(()));
}

#[test]
fn what_needs_the_double_is_listed_where_the_run_is_for_the_real_server() {
    let listed = tempfile::NamedTempFile::new().unwrap();
    let skips = tempfile::NamedTempFile::new().unwrap();
    let run = |server: &str| {
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", "real::what_needs_the_double"])
            .env(VARIABLE, server)
            .env(ELSEWHERE, listed.path())
            .env(SKIPS, skips.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        fs::read_to_string(listed.path()).unwrap()
    };
    assert_eq!(run("double"), "");
    // Where nothing can be isolated, that is what is listed, as a skip.
    if requirement::missing().is_none() {
        assert_eq!(run("real"), "real::what_needs_the_double\tit needs the lab's own API server\n");
        assert_eq!(fs::read_to_string(skips.path()).unwrap(), "");
    }
}

#[test]
fn a_folder_that_lacks_a_program_is_told_with_the_remedy() {
    let told = |folder: Option<&Path>| {
        let error = check(folder.map(Into::into)).unwrap_err().to_string();
        assert!(error.contains("KUBEBUILDER_ASSETS"), "{error}");
        assert!(error.contains("setup-envtest"), "{error}");
        error
    };
    assert!(told(None).contains("not set"));
    assert!(told(Some(Path::new(""))).contains("not set"));
    let folder = tempfile::tempdir().unwrap();
    assert!(told(Some(folder.path())).contains("/etcd is no program"));
    for name in PROGRAMS {
        let path = folder.path().join(name);
        fs::write(&path, "").unwrap();
        // It is there, and cannot be run.
        assert!(told(Some(folder.path())).contains(&format!("/{name} is no program")));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(check(Some(folder.path().into())).unwrap(), folder.path());
}
