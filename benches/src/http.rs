//! A plain HTTP client.

use bytes::Bytes;

use crate::Error;

/// A client that keeps its connections and leaves compressed bodies as they are.
pub(crate) fn client() -> Result<reqwest::Client, Error> {
    Ok(reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?)
}

/// A document as the server sends it to a client with these headers.
///
/// # Errors
/// When the answer is not 200.
pub(crate) async fn fetch(url: &str, headers: &[(&str, &str)]) -> Result<Bytes, Error> {
    let mut request = client()?.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    if status != reqwest::StatusCode::OK {
        return Err(format!("GET {url}: {status}: {}", String::from_utf8_lossy(&body[..body.len().min(300)])).into());
    }
    Ok(body)
}
