//! What only an S3 store can suffer: a server that is away, silent, full, or cuts connections.
//!
//! The server is a few lines on a real socket, because a good one cannot be made to misbehave; that
//! the client and a good server agree is shown by the contract suite.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::{StreamExt, TryStreamExt, stream};
use publaryn_blobs::{BlobError, BlobKey, BlobStore, S3Config, S3Store, StagePlan, StaticKeys, s3::PART_BYTES};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

async fn store_at(address: std::net::SocketAddr) -> S3Store {
    let keys = StaticKeys { access_key: "access".to_owned(), secret_key: "hidden-secret".to_owned() };
    let config = S3Config {
        endpoint: Some(format!("http://{address}")),
        region: "us-east-1".to_owned(),
        bucket: "bucket".to_owned(),
        keys: Some(keys),
        path_style: true,
        prefix: "/some/prefix/".to_owned(),
    };
    assert!(!format!("{config:?}").contains("hidden-secret"));
    S3Store::connect(config).await
}

fn plan() -> StagePlan {
    StagePlan::new(1 << 30, "limits.test")
}

fn key() -> BlobKey {
    "blobs/0123".parse().unwrap()
}

/// A request as the server sees it: first line, `range` header.
struct Seen {
    line: String,
    range: Option<String>,
}

/// Serves each request with the bytes `answer` gives for it, then closes the connection.
async fn misbehaving<A>(answer: A) -> (S3Store, Arc<AtomicUsize>)
where
    A: Fn(usize, Seen) -> Vec<u8> + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store_at(listener.local_addr().unwrap()).await;
    let requests = Arc::new(AtomicUsize::new(0));
    let (count, answer) = (requests.clone(), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let (count, answer) = (count.clone(), answer.clone());
            tokio::spawn(async move {
                let mut connection = BufReader::new(connection);
                if let Some(seen) = read_request(&mut connection).await {
                    let bytes = answer(count.fetch_add(1, Ordering::SeqCst), seen);
                    // The client may have seen enough.
                    let _ = connection.get_mut().write_all(&bytes).await;
                    let _ = connection.get_mut().shutdown().await;
                }
            });
        }
    });
    (store, requests)
}

async fn read_request(connection: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut seen = Seen { line: String::new(), range: None };
    let mut length = 0;
    connection.read_line(&mut seen.line).await.ok().filter(|&n| n > 0)?;
    loop {
        let mut header = String::new();
        connection.read_line(&mut header).await.ok()?;
        match header.trim_end().split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("range") => seen.range = Some(value.to_owned()),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.ok()?;
    Some(seen)
}

fn failing(status: &str, code: &str) -> Vec<u8> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_download_is_resumed_where_it_broke() {
    const SIZE: usize = 100_000;
    let content: Vec<u8> = (0..SIZE).map(|i| (i * 7 % 251) as u8).collect();
    let served = content.clone();
    // Announces everything that was asked for, sends 30 000 bytes of it and hangs up.
    let (store, requests) = misbehaving(move |_, seen| {
        assert!(seen.line.starts_with("GET /bucket/some/prefix/blobs/0123"), "{}", seen.line);
        let from = seen.range.as_deref().map_or(0, |range| {
            let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            assert_eq!(to, (SIZE - 1).to_string());
            from.parse().unwrap()
        });
        let mut head = format!("HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n", SIZE - from);
        if seen.range.is_some() {
            head += &format!("Content-Range: bytes {from}-{}/{SIZE}\r\n", SIZE - 1);
        }
        [(head + "\r\n").as_bytes(), &served[from..SIZE.min(from + 30_000)]].concat()
    })
    .await;
    let read = store.open(&key(), None).await.unwrap().into_bytes(1 << 20).await.unwrap();
    assert!(read == content);
    assert_eq!(requests.load(Ordering::SeqCst), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn download_that_never_progresses_ends() {
    let (store, requests) = misbehaving(|_, seen| {
        let range = seen.range.map_or("", |_| "Content-Range: bytes 0-9/10\r\n");
        format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n{range}\r\n").into_bytes()
    })
    .await;
    let error = store.open(&key(), None).await.unwrap().into_bytes(100).await.unwrap_err();
    assert!(matches!(error, BlobError::Unavailable(_)), "{error:?}");
    assert_eq!(requests.load(Ordering::SeqCst), 4, "the first attempt and three resumptions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passing_server_errors_are_retried() {
    let (store, requests) = misbehaving(|n, _| match n {
        0 | 1 => failing("503 Slow Down", "SlowDown"),
        _ => b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
    })
    .await;
    store.stage_bytes("tried again".into(), plan()).await.unwrap();
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_told_apart() {
    for (status, code, outcome) in [
        ("404 Not Found", "NoSuchKey", "missing"),
        ("404 Not Found", "NoSuchBucket", "unavailable"),
        ("403 Forbidden", "InvalidAccessKeyId", "unavailable"),
        ("507 Insufficient Storage", "XMinioStorageFull", "no_space"),
    ] {
        let (store, _) = misbehaving(move |_, _| failing(status, code)).await;
        let error = store.open(&key(), None).await.unwrap_err();
        assert_eq!(error.outcome(), outcome, "{code}: {error:?}");
        let printed = format!("{error:?} {error}");
        assert!(!printed.contains("hidden-secret") && !printed.contains("Signature="), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_part_fails_the_upload_and_aborts_it() {
    let aborted = Arc::new(AtomicUsize::new(0));
    let seen_abort = aborted.clone();
    let (store, _) = misbehaving(move |_, seen| {
        let created = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
        if seen.line.starts_with("POST") {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{created}", created.len())
                .into_bytes()
        } else if seen.line.starts_with("DELETE") {
            assert!(seen.line.contains("uploadId=u1"), "{}", seen.line);
            seen_abort.fetch_add(1, Ordering::SeqCst);
            b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec()
        } else if seen.line.contains("partNumber=2&") {
            failing("403 Forbidden", "AccessDenied")
        } else {
            b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
        }
    })
    .await;
    let body = stream::iter((0..3).map(|_| Ok(vec![0; PART_BYTES].into()))).boxed();
    let error = store.stage(body, plan()).await.unwrap_err();
    assert!(matches!(error, BlobError::Unavailable(_)), "{error:?}");
    assert_eq!(aborted.load(Ordering::SeqCst), 1);
    assert_eq!(store.buffers().current_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answer_to_the_completion_is_a_success_when_the_object_is_there() {
    let size = PART_BYTES + 1;
    for (reported, succeeds) in [(size, true), (size - 1, false)] {
        let (store, _) = misbehaving(move |_, seen| {
            let ok = |body: &str| {
                let head = format!("HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: {}\r\n", body.len());
                format!("{head}Connection: close\r\n\r\n{body}").into_bytes()
            };
            match seen.line.split(' ').next().unwrap() {
                "POST" if seen.line.contains("uploads") => {
                    ok("<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
                }
                "POST" => failing("404 Not Found", "NoSuchUpload"),
                "HEAD" => format!("HTTP/1.1 200 OK\r\nContent-Length: {reported}\r\nConnection: close\r\n\r\n").into(),
                "DELETE" => b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec(),
                _ => ok(""),
            }
        })
        .await;
        let staged = store.stage_bytes(vec![0; size].into(), plan()).await;
        assert_eq!(staged.is_ok(), succeeds, "{staged:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_that_is_down_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store_at(listener.local_addr().unwrap()).await;
    drop(listener);
    every_call_is_unavailable(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_that_never_answers_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store_at(listener.local_addr().unwrap()).await;
    // Connections wait in the backlog for ever; the test ends only if the client gives up by itself.
    let error = store.stat(&key()).await.unwrap_err();
    assert!(matches!(error, BlobError::Unavailable(_)), "{error:?}");
    drop(listener);
}

async fn every_call_is_unavailable(store: &S3Store) {
    let small = store.stage_bytes("x".into(), plan()).await.unwrap_err();
    let large = store.stage_bytes(vec![0; PART_BYTES + 1].into(), plan()).await.unwrap_err();
    let opened = store.open(&key(), None).await.unwrap_err();
    let stat = store.stat(&key()).await.unwrap_err();
    let deleted = store.delete(&key()).await.unwrap_err();
    let listed = store.list().try_collect::<Vec<_>>().await.unwrap_err();
    let probed = store.probe().await.unwrap_err();
    for error in [small, large, opened, stat, deleted, listed, probed] {
        assert!(matches!(error, BlobError::Unavailable(_)), "{error:?}");
    }
}
