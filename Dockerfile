# The compiled build: the compiler stays in the first stage.
FROM python:3.12-slim AS build

RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py setup.cfg README.md LICENSE ./
COPY config/build_backend.py config/
COPY rtmpsrv ./rtmpsrv
RUN python -m venv /opt/rtmpsrv && RTMPSRV_COMPILE=1 /opt/rtmpsrv/bin/pip install --no-cache-dir '.[web,workers]'

FROM python:3.12-slim

COPY --from=build /opt/rtmpsrv /opt/rtmpsrv
ENV PATH="/opt/rtmpsrv/bin:$PATH"

# Not root. Port 443 works all the same: Docker lets every user of a container bind any port
# (net.ipv4.ip_unprivileged_port_start=0). Where that is not so, set the sysctl or choose another SSL_PORT.
# By number: Kubernetes (runAsNonRoot) does not know names.
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin rtmpsrv \
    && install -d -o 10001 -g 10001 /app/recordings
USER 10001:10001
WORKDIR /app

ENV PYTHONUNBUFFERED=1
EXPOSE 1935 443 8080

# Healthy means: a process that serves answers the admin side's /healthz; with API_PORT=0, the RTMP port takes
# connections. It finds port, TLS and the rest in the server's own variables.
HEALTHCHECK --interval=30s --timeout=8s --start-period=10s CMD ["python", "-m", "rtmpsrv.probe"]

# The server is process 1 and ends cleanly on SIGTERM, so no init is needed. DRAIN_TIMEOUT_SECONDS (8) is
# below the 10 seconds after which `docker stop` kills.
ENTRYPOINT ["python", "-m", "rtmpsrv"]
