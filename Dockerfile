# One file of JavaScript and the Deno binary, nothing else: no shell, no package manager, no root.

FROM denoland/deno:debian-2.9.6 AS build
WORKDIR /build
COPY deno.json deno.lock ./
RUN deno install --frozen
COPY src ./src
RUN deno task bundle && mkdir -p empty/etc empty/data

FROM denoland/deno:bin-2.9.6 AS deno

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=deno /deno /usr/local/bin/deno
COPY --from=build /build/dist/promptmq.js /app/promptmq.js
COPY --from=build --chown=nonroot:nonroot /build/empty/etc /etc/promptmq
COPY --from=build --chown=nonroot:nonroot --chmod=750 /build/empty/data /var/lib/promptmq

# ./promptmq.yaml and $HOME/.promptmq.yaml are where the configuration is looked for; both are in /etc/promptmq. The store
# is in a volume of its own: what was acknowledged outlives the container only with it. The cache of Deno is no part of it.
WORKDIR /etc/promptmq
ENV HOME=/etc/promptmq DENO_DIR=/tmp/deno DENO_NO_UPDATE_CHECK=1 PROMPTMQ_STORAGE_DATA_DIR=/var/lib/promptmq
VOLUME ["/etc/promptmq", "/var/lib/promptmq"]

# MQTT, MQTT over TLS, over WebSocket, over WebSocket with TLS; metrics and health.
EXPOSE 1883 8883 8080 8084 9090

HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --start-interval=1s --retries=3 \
  CMD ["/usr/local/bin/deno", "eval", "const r = await fetch('http://127.0.0.1:9090/health/ready'); Deno.exit(r.ok ? 0 : 1)"]

# The binary itself is process 1, so SIGTERM reaches the broker. It may use the network, read its configuration with
# certificates, keys, users and rules, write its data, see how much disk and memory there is (statfs, systemMemoryInfo),
# and see no environment but its own. It cannot start programs, and cannot write what it is configured with.
ENTRYPOINT ["/usr/local/bin/deno", "run", "--no-prompt", "--no-remote", "--no-config", \
  "--unstable-net", "--unstable-no-legacy-abort", \
  "--allow-net", "--allow-read=/etc/promptmq,/var/lib/promptmq", "--allow-write=/var/lib/promptmq", \
  "--allow-env=PROMPTMQ_*,HOME,PWD", "--ignore-env", "--allow-sys=hostname,uid,statfs,systemMemoryInfo", \
  "/app/promptmq.js"]
CMD ["server"]
