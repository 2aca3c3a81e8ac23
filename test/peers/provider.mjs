// An OpenID Connect provider for tests: npm's oidc-provider, set up as the authorization server of MCP servers. It knows
// nothing of the tests. The argument is its configuration in JSON, see `options` below; it says what happens on stdout, one
// JSON object a line, and ends with its stdin. A line "rotate" there makes it sign with new keys, and publish the old ones
// beside them; a line "default URL" makes that the resource of whoever names none; each line is answered when it is done.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import Provider, { errors } from 'oidc-provider';

const options = {
  cert: '', key: '', // files in PEM
  scopes: [], // what resources have
  // By the path of a resource: ttl of access tokens in seconds, alg that signs them, or opaque: true for tokens that only
  // introspection explains. Any https URL on loopback is a resource.
  resources: {},
  clients: [], // pre-registered, as RFC 7591 names their properties
  claims: {}, // more claims of access tokens
  ...JSON.parse(process.argv[2]),
};

const say = (event, more) => process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);

// One storage for all providers of this process: rotating makes a new one.
const storage = new Map();
class Adapter {
  constructor(model) { this.model = model; }
  at(id) { return `${this.model} ${id}`; }
  async upsert(id, payload) { storage.set(this.at(id), payload); }
  async find(id) { return storage.get(this.at(id)); }
  async destroy(id) { storage.delete(this.at(id)); }
  async consume(id) { storage.get(this.at(id)).consumed = Math.floor(Date.now() / 1000); }
  async findByUid(uid) {
    for (const [at, payload] of storage) if (at.startsWith(`${this.model} `) && payload.uid === uid) return payload;
    return undefined;
  }
  async findByUserCode() { return undefined; }
  async revokeByGrantId(grant) {
    for (const [at, payload] of storage) if (payload.grantId === grant) storage.delete(at);
  }
}

const newKeys = () => [
  generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  generateKeyPairSync('ed25519'),
  generateKeyPairSync('rsa', { modulusLength: 2048 }),
].map(({ privateKey }) => ({ ...privateKey.export({ format: 'jwk' }), use: 'sig' }));

let keys = newKeys();
let fallback;
const cookieKey = randomBytes(16).toString('hex');
const nonceSecret = randomBytes(32);

function resourceServer(ctx, resource) {
  const url = URL.parse(resource);
  if (url?.protocol !== 'https:' || url.hostname !== '127.0.0.1' || url.hash) throw new errors.InvalidTarget();
  const { ttl = 300, alg = 'ES256', opaque = false } = options.resources[url.pathname] ?? {};
  return {
    scope: options.scopes.join(' '), audience: resource, accessTokenTTL: ttl,
    accessTokenFormat: opaque ? 'opaque' : 'jwt', jwt: { sign: { alg } },
  };
}

// The user agrees to everything, or to the scopes in the header X-Consent of the browser.
async function consent({ oidc, ...ctx }) {
  const grant = new oidc.provider.Grant({ accountId: oidc.session.accountId, clientId: oidc.client.clientId });
  const only = ctx.req.headers['x-consent']?.split(' ');
  grant.addOIDCScope([...oidc.requestParamOIDCScopes]);
  for (const [resource, server] of Object.entries(oidc.resourceServers ?? {})) {
    const asked = [...oidc.requestParamScopes].filter((scope) => server.scopes.has(scope));
    grant.addResourceScope(resource, asked);
    grant.rejectResourceScope(resource, asked.filter((scope) => only && !only.includes(scope)));
  }
  await grant.save();
  return grant;
}

const lifetime = (ctx, token) => token.resourceServer?.accessTokenTTL ?? 300;

function serve(issuer) {
  const provider = new Provider(issuer, {
    adapter: Adapter,
    clients: options.clients,
    cookies: { keys: [cookieKey] },
    jwks: { keys },
    scopes: ['openid', 'offline_access', ...options.scopes],
    pkce: { required: () => true },
    responseTypes: ['code'],
    ttl: {
      AccessToken: lifetime, AuthorizationCode: 60, ClientCredentials: lifetime, Grant: 3600, IdToken: 300, Interaction: 60,
      RefreshToken: 3600, Session: 3600,
    },
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    extraTokenClaims: () => options.claims,
    issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
    loadExistingGrant: consent,
    interactions: { url: (ctx, interaction) => `/login/${interaction.uid}` },
    renderError(ctx, out, error) { ctx.type = 'text'; ctx.body = `${error.name}: ${out.error_description ?? ''}`; },
    features: {
      clientCredentials: { enabled: true },
      // Documents of clients are on loopback too, which the guard of this feature refuses: it is left out here.
      clientIdMetadataDocument: { enabled: true, ack: 'draft-02' },
      devInteractions: { enabled: false },
      dPoP: { enabled: true, nonceSecret },
      introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId === options.introspector },
      registration: { enabled: true },
      resourceIndicators: { enabled: true, defaultResource: (ctx, client, oneOf) => oneOf ?? fallback, getResourceServerInfo: resourceServer },
    },
    fetch: (url, { dispatcher, ...rest }) => fetch(url, rest),
  });
  const granted = (ctx) => ({
    client: ctx.oidc.client?.clientId, grant: ctx.oidc.params?.grant_type, scope: ctx.body?.scope,
    token: ctx.body?.access_token, user: ctx.oidc.account?.accountId,
  });
  provider.on('grant.success', (ctx) => say('grant', granted(ctx)));
  provider.on('registration_create.success', (ctx, client) => say('registered', { client: client.clientId }));
  for (const failure of ['authorization.error', 'grant.error', 'registration_create.error', 'introspection.error', 'server_error']) {
    provider.on(failure, (ctx, e) => say('failed', { at: failure, error: e.message, detail: e.error_description ?? e.stack }));
  }
  const callback = provider.callback();
  return async (req, res) => {
    // Who asks for no scope gets the first (RFC 6749, section 3.3).
    if (req.url.startsWith('/auth?') && !/[?&]scope=/.test(req.url)) req.url += `&scope=${options.scopes[0]}`;
    if (!req.url.startsWith('/login/')) return callback(req, res);
    const { prompt } = await provider.interactionDetails(req, res);
    // The browser says who is in front of it.
    const result = prompt.name === 'login' ? { login: { accountId: req.headers['x-user'] ?? 'alice' } } : { consent: {} };
    return provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
  };
}

let handle;
const server = createServer({ cert: readFileSync(options.cert), key: readFileSync(options.key) }, (req, res) => {
  Promise.resolve(handle(req, res)).catch((e) => {
    say('failed', { at: req.url, error: e.message, detail: e.stack });
    res.writeHead(500).end();
  });
});
server.listen(0, '127.0.0.1', () => {
  const issuer = `https://127.0.0.1:${server.address().port}`;
  handle = serve(issuer);
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      const [command, argument] = line.split(' ');
      if (command === 'rotate') {
        keys = [...newKeys(), ...keys];
        handle = serve(issuer);
      }
      if (command === 'default') fallback = argument;
      say('done', { command });
    })
    .on('close', () => process.exit(0));
  say('ready', { issuer });
});
