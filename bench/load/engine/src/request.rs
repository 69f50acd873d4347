//! A request as bytes: what does not change is built once, the number and the length are put in at each sending.

use std::io::Write;

use crate::config::{Config, Session, Target, Template};

/// A template, prepared for both versions of HTTP.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub method: http::Method,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub session: Option<Session>,
    /// What the server is asked as: a `host` header of the template's, or else the place that is connected to.
    authority: String,
    head: Vec<u8>,
}

impl Prepared {
    pub fn new(template: &Template, target: &Target) -> Result<Self, String> {
        let method = http::Method::from_bytes(template.method.as_bytes()).map_err(|error| error.to_string())?;
        let line =
            format!("{}{}", template.path, template.headers.iter().map(|(n, v)| format!("{n}{v}")).collect::<String>());
        if line.contains(['\r', '\n', '\0']) || template.path.contains(' ') || !template.path.starts_with('/') {
            return Err(format!("path {:?} or a header cannot be sent: it holds a line end or a space", template.path));
        }
        let (hosts, headers): (Vec<_>, Vec<_>) =
            template.headers.iter().cloned().partition(|(name, _)| name.eq_ignore_ascii_case("host"));
        let authority = hosts.first().map_or_else(|| target.authority.clone(), |(_, host)| host.clone());
        let place = match &target.proxy {
            Some(_) if !target.tls => format!("http://{authority}{}", template.path),
            _ => template.path.clone(),
        };
        let mut head = format!("{method} {place} HTTP/1.1\r\nhost: {authority}\r\n").into_bytes();
        let shown = target.proxy_authorization.as_ref().filter(|_| target.proxy.is_some() && !target.tls);
        if let Some(shown) = shown {
            write!(head, "proxy-authorization: {shown}\r\n").map_err(|error| error.to_string())?;
        }
        for (name, value) in &headers {
            write!(head, "{name}: {value}\r\n").map_err(|error| error.to_string())?;
        }
        Ok(Self {
            method,
            path: template.path.clone(),
            headers,
            body: template.body.clone().into_bytes(),
            session: template.session.clone(),
            authority,
            head,
        })
    }

    /// Writes the whole request over what `out` held.
    pub fn write_http1(&self, out: &mut Vec<u8>, id_header: &str, id: &str, body: &[u8]) {
        out.clear();
        out.extend_from_slice(&self.head);
        if !id_header.is_empty() {
            for part in [id_header, ": ", id, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        if !body.is_empty() || self.method == http::Method::POST {
            // Writing to a Vec does not fail.
            let _ = write!(out, "content-length: {}\r\n", body.len());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }

    pub fn to_http2(&self, target: &Target, id_header: &str, id: &str) -> Result<http::Request<()>, http::Error> {
        let scheme = if target.tls { "https" } else { "http" };
        let mut request = http::Request::builder()
            .version(http::Version::HTTP_2)
            .method(self.method.clone())
            .uri(format!("{scheme}://{}{}", self.authority, self.path));
        for (name, value) in &self.headers {
            request = request.header(name.to_ascii_lowercase(), value);
        }
        if !id_header.is_empty() {
            request = request.header(id_header.to_ascii_lowercase(), id);
        }
        request.body(())
    }
}

/// All templates of a run.
pub fn prepare(config: &Config) -> Result<Vec<Prepared>, String> {
    config.templates.iter().map(|template| Prepared::new(template, &config.target)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            tls: false,
            host: "h".into(),
            port: 80,
            authority: "h:80".into(),
            proxy: None,
            proxy_authorization: None,
        }
    }

    fn template(path: &str) -> Template {
        Template {
            method: "POST".into(),
            path: path.into(),
            headers: vec![("a".into(), "b".into())],
            body: "{}".into(),
            session: None,
        }
    }

    #[test]
    fn a_request_is_written_over_the_last_one() {
        let prepared = Prepared::new(&template("/v1"), &target()).unwrap();
        let mut out = b"old".to_vec();
        prepared.write_http1(&mut out, "x-request-id", "r-7", b"{}");
        let wire = "POST /v1 HTTP/1.1\r\nhost: h:80\r\na: b\r\nx-request-id: r-7\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(String::from_utf8_lossy(&out), wire);
    }

    #[test]
    fn a_proxy_is_asked_for_the_whole_url_and_told_who_asks() {
        let proxied =
            Target { proxy: Some("p:3128".into()), proxy_authorization: Some("Basic eA==".into()), ..target() };
        let mut out = Vec::new();
        Prepared::new(&template("/v1"), &proxied).unwrap().write_http1(&mut out, "", "", b"{}");
        let wire = String::from_utf8_lossy(&out).into_owned();
        assert!(wire.starts_with("POST http://h:80/v1 HTTP/1.1\r\nhost: h:80\r\nproxy-authorization: Basic eA==\r\n"));
    }

    #[test]
    fn a_host_that_was_given_takes_the_place_of_the_address() {
        let mut asked = template("/v1");
        asked.headers.push(("Host".into(), "route.internal".into()));
        let prepared = Prepared::new(&asked, &target()).unwrap();
        let mut out = Vec::new();
        prepared.write_http1(&mut out, "", "", b"{}");
        let wire = String::from_utf8_lossy(&out).to_ascii_lowercase();
        assert!(wire.starts_with("post /v1 http/1.1\r\nhost: route.internal\r\n"));
        assert_eq!(wire.matches("host:").count(), 1);
        assert_eq!(prepared.to_http2(&target(), "", "").unwrap().uri().authority().unwrap(), "route.internal");
    }

    #[test]
    fn a_header_with_a_line_end_is_refused() {
        let mut template = template("/v1");
        template.headers[0].1 = "b\r\nevil: 1".into();
        assert!(Prepared::new(&template, &target()).is_err());
        assert!(Prepared::new(&self::template("v1"), &target()).is_err());
    }
}
