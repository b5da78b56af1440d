//! Runs the program in a scratch directory of its own, with nothing of the caller's environment.
#![allow(dead_code, reason = "each test binary uses its share")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

pub struct Program {
    scratch: tempfile::TempDir,
}

impl Program {
    pub fn new() -> Self {
        Self { scratch: tempfile::tempdir().unwrap() }
    }

    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// Prepared, not started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_publaryn"));
        command.args(args).current_dir(self.scratch()).env_clear().stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        run(&mut self.command(args))
    }

    pub fn run_with_input(&self, args: &[&str], input: &str) -> Output {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        // A program that refuses early may have closed its input already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    pub fn migrated(&self) {
        let output = self.run(&["migrate"]);
        assert_eq!(exit(&output), 0, "{}", text(&output.stderr));
    }

    /// A server on a free port, once it is ready.
    pub fn serve(&self, args: &[&str]) -> Server {
        let file = self.scratch().join("addr");
        let _ = std::fs::remove_file(&file);
        let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--addr-file", "addr"];
        all.extend(args);
        let mut child = self.command(&all).spawn().unwrap();
        loop {
            if let Ok(address) = std::fs::read_to_string(&file) {
                return Server { child: Some(child), address: address.trim().to_owned() };
            }
            if child.try_wait().unwrap().is_some() {
                panic!("the server ended: {}", text(&child.wait_with_output().unwrap().stderr));
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Ends with the test.
pub struct Server {
    child: Option<Child>,
    pub address: String,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(mut self) -> Output {
        let child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        child.wait_with_output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

pub fn exit(output: &Output) -> i32 {
    output.status.code().expect("the program was not killed")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The whole answer to a GET, status line first.
pub fn get(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Stores a blob as the disk store lays it out; returns its path below `blobs`.
pub fn put_blob(data: &Path, bytes: &[u8]) -> String {
    use sha2::Digest;
    let digest = hex::encode(sha2::Sha256::digest(bytes));
    let path = format!("sha256/{}/{}-0000000000000001", &digest[..2], &digest[2..]);
    let file = data.join("blobs").join(&path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, bytes).unwrap();
    path
}
