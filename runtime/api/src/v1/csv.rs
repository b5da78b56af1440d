//! Lists as CSV files (control-plane.md §5.3): RFC 4180, streamed, and harmless in a spreadsheet.

use std::fmt::Write;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::stream;
use http::header;
use publaryn_core::RegistryError;

use super::problem::Problem;

/// One line.
pub type Row = Vec<String>;

/// Answers with a file of these columns whose rows come in steps: `next` gets the position behind the step
/// before (`None` first) and gives rows and the position behind them, `None` after the last.
///
/// The first step is made before the answer begins, so that what fails at once is answered as a problem;
/// a later failure breaks the answer off, which clients notice.
///
/// # Errors
/// Those of the first step.
pub async fn answer<P, F, Fut>(filename: &str, columns: &[&str], next: F) -> Result<Response, Problem>
where
    P: Send + 'static,
    F: Fn(Option<P>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(Vec<Row>, Option<P>), RegistryError>> + Send,
{
    let (rows, position) = next(None).await?;
    let mut head = String::new();
    line(&mut head, columns.iter().copied());
    rows.iter().for_each(|row| line(&mut head, row.iter().map(String::as_str)));
    let rest = stream::try_unfold((position, next), async |(position, next)| {
        let Some(position) = position else { return Ok::<_, RegistryError>(None) };
        let (rows, position) = next(Some(position)).await?;
        let mut text = String::new();
        rows.iter().for_each(|row| line(&mut text, row.iter().map(String::as_str)));
        Ok(Some((Bytes::from(text), (position, next))))
    });
    let first = stream::once(std::future::ready(Ok(Bytes::from(head))));
    let body = Body::from_stream(futures::StreamExt::chain(first, rest));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{filename}\"")),
    ];
    Ok((headers, body).into_response())
}

fn line<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (position, value) in cells.enumerate() {
        if position > 0 {
            text.push(',');
        }
        cell(text, value);
    }
    text.push_str("\r\n");
}

/// A cell that a spreadsheet would take for a formula gets an apostrophe in front, which shows it as text.
fn cell(text: &mut String, value: &str) {
    let guard = if value.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    // Writing to a string does not fail.
    let _ = if value.contains(['"', ',', '\r', '\n']) {
        write!(text, "\"{guard}{}\"", value.replace('"', "\"\""))
    } else {
        write!(text, "{guard}{value}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_needed_and_never_formulas() {
        let of = |cells: &[&str]| {
            let mut text = String::new();
            line(&mut text, cells.iter().copied());
            text
        };
        assert_eq!(of(&["a", "", "b c"]), "a,,b c\r\n");
        assert_eq!(of(&["a,b", "say \"hi\"", "two\nlines"]), "\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\"\r\n");
        assert_eq!(of(&["=1+1", "+1", "-1", "@x", "\tx"]), "'=1+1,'+1,'-1,'@x,'\tx\r\n");
        assert_eq!(of(&["=A1,B1", "\rx"]), "\"'=A1,B1\",\"'\rx\"\r\n");
        assert_eq!(of(&["a=b", "1-2"]), "a=b,1-2\r\n");
    }
}
