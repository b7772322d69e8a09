# Sightline in a container: the page is built in one stage, the program runs in the next with nothing that only building needs.
#
#   docker build -t sightline .
#   docker run -d --name sightline -p 7070:7070 -p 4317:4317 -p 4318:4318 -v sightline:/var/lib/sightline --stop-timeout 60 sightline
#
# It listens on all addresses of the container, and therefore asks everybody to sign in; docs/running-container.md tells how to get
# the first token, and what --insecure means instead.

# The major version is what package.json asks for (dependency "node"); Debian's slim variant, for x64 and arm64.
ARG NODE_IMAGE=node:26-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /opt/sightline
COPY package.json package-lock.json ./
# No install scripts: the one package with a script of its own brings a Node.js, and here is one. Not `npm ci`: it wants the
# linter's binaries for every platform in the lock file.
RUN npm install --ignore-scripts --no-audit --no-fund
COPY ui ui
RUN node ui/build.ts \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund
COPY LICENSE tsconfig.json ./
COPY deploy/container/trim.mjs /tmp/trim.mjs
COPY bin bin
COPY src src
# What only the page is built from is in ui/dist by now.
RUN node /tmp/trim.mjs && rm -rf ui/src ui/build.ts ui/index.html ui/tsconfig.json
# Starts and stops it once, which must succeed, and keeps the compiled code: starts are faster and take less memory with it.
ENV NODE_COMPILE_CACHE=/opt/sightline/.compile-cache
RUN timeout --preserve-status --signal=TERM 15 \
  node bin/sightline serve --http 127.0.0.1:0 --otlp-grpc 127.0.0.1:0 --otlp-http 127.0.0.1:0 --data-dir /tmp/first-start

FROM ${NODE_IMAGE}
LABEL org.opencontainers.image.title="Sightline" \
  org.opencontainers.image.description="One observability platform in one program" \
  org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/sightline /opt/sightline
COPY deploy/container/healthcheck.mjs /opt/sightline/healthcheck.mjs
COPY deploy/container/sightline.yaml /etc/sightline/sightline.yaml
# A number, so that Kubernetes can see that it is not root; the volume is made with this owner.
RUN ln -s /opt/sightline/bin/sightline /usr/local/bin/sightline \
  && install -d -o 10001 -g 10001 -m 0750 /var/lib/sightline
ENV NODE_ENV=production \
  NODE_COMPILE_CACHE=/opt/sightline/.compile-cache
USER 10001:10001
WORKDIR /var/lib/sightline
VOLUME /var/lib/sightline
# Page and API; OTLP over gRPC; OTLP over HTTP.
EXPOSE 7070 4317 4318
# Healthy from the first second on, also while a long log is read back; a large one must not have it killed.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
  CMD ["node", "/opt/sightline/healthcheck.mjs"]
# Node is process 1: it starts no other programs, and takes its signals itself.
ENTRYPOINT ["node", "/opt/sightline/bin/sightline"]
CMD ["serve", "--config", "/etc/sightline/sightline.yaml"]
