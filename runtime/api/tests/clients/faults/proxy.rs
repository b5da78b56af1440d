//! A TCP proxy on loopback between the server and a service, which can be told to misbehave.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Up,
    /// Every connection breaks.
    Down,
    /// Connections are taken and nothing is ever said.
    Silent,
    /// HTTP requests are answered with an internal error.
    Broken,
}

/// Ends when dropped.
pub struct Proxy {
    address: std::net::SocketAddr,
    mode: watch::Sender<Mode>,
    accepting: JoinHandle<()>,
}

/// As S3 stores report a fault of theirs.
const FAULT: &[u8] =
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/xml\r\nconnection: close\r\n\r\n\
    <?xml version=\"1.0\"?><Error><Code>InternalError</Code><Message>injected</Message></Error>";

impl Proxy {
    /// `target`: `host:port`.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (mode, watched) = watch::channel(Mode::Up);
        let target = target.to_owned();
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let (target, watched) = (target.clone(), watched.clone());
                // A connection that breaks is what this is for.
                tokio::spawn(async move { serve(client, &target, watched).await.ok() });
            }
        });
        Self { address, mode, accepting }
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes the mode for new connections and breaks the present ones.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut client: TcpStream, target: &str, mut watched: watch::Receiver<Mode>) -> io::Result<()> {
    let mode = *watched.borrow_and_update();
    let talk = async {
        match mode {
            Mode::Up => {
                let mut server = TcpStream::connect(target).await?;
                copy_bidirectional(&mut client, &mut server).await.map(drop)
            }
            Mode::Down => client.set_zero_linger(),
            Mode::Silent => std::future::pending().await,
            Mode::Broken => refuse(&mut client).await,
        }
    };
    tokio::select! {
        done = talk => done,
        _ = watched.changed() => Ok(()),
    }
}

async fn refuse(client: &mut TcpStream) -> io::Result<()> {
    let mut block = [0; 65536];
    // The head at least; what follows is read and forgotten, or the client would see a reset instead.
    if client.read(&mut block).await? == 0 {
        return Ok(());
    }
    client.write_all(FAULT).await?;
    client.shutdown().await?;
    let rest = async { while matches!(client.read(&mut block).await, Ok(1..)) {} };
    // A client that keeps sending gets no more patience.
    let _ = tokio::time::timeout(Duration::from_secs(2), rest).await;
    Ok(())
}
