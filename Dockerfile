# The engine on a CPU, with the control interface:
#   docker build -t streamprn .
#   docker run -v "$PWD/config.yaml:/etc/streamprn/config.yaml:ro" -p 127.0.0.1:5870:5870 streamprn
# What other machines or containers are to reach must bind 0.0.0.0 in there, in the configuration:
# `publish.bind: tcp://*:5870`, `http.bind: 0.0.0.0:8088` with `http.token_file`.
# deploy/compose.yaml adds a camera simulator, Prometheus and Grafana; deploy/Dockerfile.gpu is for
# NVIDIA GPUs.
FROM python:3.12-slim AS build
COPY . /src
RUN python -m venv /opt/streamprn \
 && /opt/streamprn/bin/pip install --no-cache-dir --disable-pip-version-check '/src[demo,serve]'

FROM python:3.12-slim
COPY --from=build /opt/streamprn /opt/streamprn
# A user without rights; what is compiled or imported stays in /var/lib/streamprn.
RUN useradd --system --uid 10001 --user-group --no-create-home streamprn \
 && install -d -o streamprn -g streamprn /var/lib/streamprn /run/streamprn /clip
ENV PATH=/opt/streamprn/bin:$PATH STREAMPRN_HOME=/var/lib/streamprn PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/streamprn
VOLUME /var/lib/streamprn
EXPOSE 5870 8088
# Alive is what answers: an engine without --http is not asked.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8088/healthz', timeout=4)"]
ENTRYPOINT ["streamprn"]
CMD ["run", "--config", "/etc/streamprn/config.yaml", "--http", "127.0.0.1:8088"]
