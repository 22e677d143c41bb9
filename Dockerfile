# syntax=docker/dockerfile:1
# docker build -t mls-server:latest .
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/mls-server ./cmd/mls-server

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/mls-server /mls-server
USER nonroot:nonroot
EXPOSE 3000
# The admin port (metrics, profiles) listens on the container's loopback unless ADMIN_HOST says otherwise, and is not exposed.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/mls-server", "healthcheck"]
ENTRYPOINT ["/mls-server"]
CMD ["serve"]
