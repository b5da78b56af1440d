// Addresses are relative, so that the page works behind a path prefix; nothing is loaded from other hosts.
SwaggerUIBundle({
  url: "api-docs/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
