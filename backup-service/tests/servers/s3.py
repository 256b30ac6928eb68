# OpenStack Swift with its S3 API, all its servers in one process: port, seconds that its clock is ahead, `tls` or `plain`.
# What it keeps is below the directory it is started in.
import os
import sys
import time

port, ahead, tls = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "tls"
real = time.time
time.time = lambda: real() + ahead

import eventlet

eventlet.monkey_patch()
from array import array

from eventlet import wsgi
from swift.common import utils
from swift.common.ring import RingData
from swift.common.swob import Request
from swift.common.wsgi import loadapp

at = os.getcwd()
for name in ("etc", "disk/one"):
    os.makedirs(name)
with open("etc/swift.conf", "w") as file:
    file.write("[swift-hash]\nswift_hash_path_suffix = tests\n[storage-policy:0]\nname = gold\ndefault = yes\n")
utils.SWIFT_CONF_FILE = f"{at}/etc/swift.conf"
utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX = b"", b"tests"


def conf(name, text):
    with open(f"etc/{name}.conf", "w") as file:
        file.write(f"[DEFAULT]\nswift_dir = {at}/etc\ndevices = {at}/disk\nmount_check = false\n{text}")
    return f"{at}/etc/{name}.conf"


FILTERS = ["catch_errors", "memcache", "listing_formats", "bulk", "s3api", "tempauth", "slo", "dlo", "container_quotas"]
SETTINGS = {
    # Swift wants one; that nothing answers is good enough.
    "memcache": "memcache_servers = 127.0.0.1:9\n",
    "s3api": "location = eu-test-1\ns3_acl = false\ncheck_bucket_owner = false\n",
    "tempauth": "user_pbx_anna = geheim/+=1 .admin\nuser_pbx_gast = gast\n",
}
PROXY = "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
inside, servers = eventlet.GreenPool(1000), []
for kind in ("account", "container", "object"):
    listener = eventlet.listen(("127.0.0.1", 0))
    own = listener.getsockname()[1]
    device = {"id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": "127.0.0.1", "port": own, "device": "one", "meta": ""}
    device |= {"replication_ip": "127.0.0.1", "replication_port": own}
    RingData([array("H", [0] * 4)], [device], 30).save(f"etc/{kind}.ring.gz")
    app = loadapp(conf(kind, f"[pipeline:main]\npipeline = server\n[app:server]\nuse = egg:swift#{kind}\n"))
    eventlet.spawn(wsgi.server, listener, app, custom_pool=inside, log_output=False)

trusted = loadapp(conf("inside", f"[pipeline:main]\npipeline = proxy-server\n{PROXY}"))
for path, headers in (("backup", {}), ("small", {"X-Container-Meta-Quota-Bytes": "4194304"})):
    made = Request.blank(f"/v1/AUTH_pbx/{path}", method="PUT", headers=headers).get_response(trusted)
    assert made.is_success, made.status
filters = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n{SETTINGS.get(name, '')}" for name in FILTERS)
front = loadapp(conf("proxy", f"[pipeline:main]\npipeline = {' '.join(FILTERS)} proxy-server\n{PROXY}{filters}"))
listener = eventlet.listen(("127.0.0.1", port))
if tls:
    listener = eventlet.wrap_ssl(listener, certfile="cert.pem", keyfile="key.pem", server_side=True)
wsgi.server(listener, front, log=sys.stderr)
