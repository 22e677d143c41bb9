# syntax=docker/dockerfile:1
# make image, or: docker build --build-arg VERSION=v1.2.3 -t mls-server:v1.2.3 .
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
# The build context has no .git, so the version comes from outside.
ARG VERSION=devel
ARG REVISION=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X main.version=${VERSION} -X main.revision=${REVISION}" \
      -o /out/mls-server ./cmd/mls-server

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/mls-server /mls-server
USER nonroot:nonroot
EXPOSE 3000
# The admin port (metrics, profiles) listens on the container's loopback unless ADMIN_HOST says otherwise, and is not exposed.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/mls-server", "healthcheck"]
ENTRYPOINT ["/mls-server"]
CMD ["serve"]
