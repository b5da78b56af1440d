//! The S3 client: address, credentials, retries and time limits.

use std::{fmt, time::Duration};

use aws_config::{default_provider::credentials::DefaultCredentialsChain, provider_config::ProviderConfig};
use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
        StalledStreamProtectionConfig,
        retry::RetryConfig,
        timeout::{TimeoutConfig, TimeoutConfigBuilder},
    },
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// Which bucket, and how to reach it (`storage.s3.*`).
#[derive(Debug, Clone)]
pub struct S3Config {
    /// `http(s)://host[:port]`; `None` is AWS itself.
    pub endpoint: Option<String>,
    pub region: String,
    pub bucket: String,
    /// `None` uses what the environment offers (variables, profile, container or instance role).
    pub keys: Option<StaticKeys>,
    /// `endpoint/bucket/key` rather than `bucket.endpoint/key`.
    pub path_style: bool,
    /// Put before every key; a missing `/` at its end is added.
    pub prefix: String,
}

impl S3Config {
    pub(super) fn key_prefix(&self) -> String {
        match self.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }
}

/// An access key pair.
#[derive(Clone)]
pub struct StaticKeys {
    pub access_key: String,
    pub secret_key: String,
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKeys").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// A store that is down is noticed after this long per attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// From the start of a request without body to the first byte of its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Such a request with all its retries: after this the store counts as down.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// The same for a request that carries a part: 8 MiB at 1 Mbit/s.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(70);
/// The same for completing an upload: some stores assemble the object before they answer.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a body may make no progress.
const STALL_GRACE: Duration = Duration::from_secs(20);

pub(super) async fn build(config: S3Config) -> Client {
    let (http_client, region) = (http_client(), Region::new(config.region));
    let provider = ProviderConfig::without_region().with_http_client(http_client.clone());
    let mut builder = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http_client)
        .region(region.clone())
        .force_path_style(config.path_style)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(3)
                .with_initial_backoff(Duration::from_millis(200))
                .with_max_backoff(Duration::from_secs(2)),
        )
        .timeout_config(timeouts(ANSWER_TIMEOUT).operation_timeout(GIVE_UP_AFTER).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL_GRACE).build())
        // Payloads are covered by the signature; trailing checksums are refused by several
        // S3-compatible stores.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = config.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    builder = match config.keys {
        Some(StaticKeys { access_key, secret_key }) => {
            builder.credentials_provider(Credentials::new(access_key, secret_key, None, None, "configuration"))
        }
        None => {
            let environment = DefaultCredentialsChain::builder().region(region).configure(provider).build().await;
            builder.credentials_provider(environment)
        }
    };
    Client::from_conf(builder.build())
}

/// The override for a request that carries content.
pub(super) fn for_upload() -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::Config::builder().timeout_config(timeouts(UPLOAD_TIMEOUT).disable_operation_timeout().build())
}

/// The override for the request that completes a multipart upload.
pub(super) fn for_completion() -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::Config::builder().timeout_config(timeouts(COMPLETE_TIMEOUT).disable_operation_timeout().build())
}

fn timeouts(answer: Duration) -> TimeoutConfigBuilder {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(answer)
        .operation_attempt_timeout(answer + CONNECT_TIMEOUT)
}

fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}
